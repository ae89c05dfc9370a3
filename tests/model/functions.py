"""200 tools as people have them: what pydantic, zod, OpenAI's documentation, MCP servers, Home
Assistant and LangChain make of functions, each with a question that calls for it.
"""

from .functions_life import CALENDAR, HEALTH, HOME, MAIL, MEDIA, PERSONAL, SHOP, TRAVEL, WEATHER
from .functionschemas import (
    CLOSED,
    OPEN,
    Function,
    about,
    any_of,
    array,
    boolean,
    const,
    defs,
    enum,
    form,
    integer,
    mapping,
    model,
    nullable,
    number,
    obj,
    one_of,
    optional,
    pattern,
    pydantic,
    ref,
    rows,
    strict,
    string,
    strings,
    tool,
    zod,
    zod4,
)

# Files, git, code.

PATH = string("Path of the file, relative to the root")
NODE = obj(
    "name type",
    name=string(maxLength=40),
    type=enum("file", "directory"),
    children=array(ref("node"), maxItems=10),
)

FILES = [
    Function(
        "read_file",
        "Read the complete contents of a file.",
        obj("path", path=string()),
        "Open a.txt.",
    ),
    Function(
        "read_text_file",
        "Read a file as text, all of it, or its first or last lines.",
        zod(
            "path",
            path=string(),
            head=number("If provided, returns only the first N lines"),
            tail=number("If provided, returns only the last N lines"),
        ),
        "Show the last 20 lines of /var/log/syslog.",
    ),
    Function(
        "read_multiple_files",
        "Read several files at once.",
        zod("paths", paths=strings("Paths of files", minItems=1)),
        "Compare src/a.py with src/b.py.",
    ),
    Function(
        "write_file",
        "Create a new file or overwrite an existing one.",
        zod("path content", path=string(), content=string()),
        "Create hello.txt with the text 'hello'.",
    ),
    Function(
        "edit_file",
        "Make line-based edits to a text file. Returns a diff.",
        zod(
            "path edits",
            path=string(),
            edits=rows(
                0,
                None,
                "oldText newText",
                oldText=string("Text to search for - must match exactly"),
                newText=string("Text to replace it with"),
            ),
            dryRun=boolean("Preview changes using git-style diff format", default=False),
        ),
        "In main.py rename the function run to start.",
    ),
    Function(
        "create_file_tree",
        "Create directories and files as a tree.",
        obj("root", root=ref("node")) | defs(node=NODE),
        "Create a project folder with src/main.py and README.md.",
    ),
    Function(
        "directory_tree",
        "Get a recursive tree of files.",
        obj("path", path=string(), excludePatterns=strings(default=[]), depth=integer(maximum=10)),
        "Show me what is below /srv without node_modules.",
    ),
    Function(
        "grep",
        "Search file contents with regular expressions.",
        obj(
            "pattern",
            pattern=string("The regular expression"),
            path=string("File or directory to search in"),
            glob=string('Glob pattern to filter files, e.g. "*.js"'),
            output_mode=enum("content", "files_with_matches", "count"),
            **{
                "-A": integer("Lines after each match", minimum=0),
                "-B": integer("Lines before each match", minimum=0),
                "-i": boolean("Ignore case"),
                "-n": boolean("Show line numbers"),
            },
            multiline=boolean(),
        )
        | CLOSED,
        "Find deprecated in all Python files, whatever the case, with line numbers.",
    ),
    tool(
        "set_permissions",
        "Change who may read and write a file.",
        "Make run.sh executable.",
        "path mode",
        path=PATH,
        mode=one_of(pattern("^[0-7]{3,4}$", "Octal"), pattern("^[ugoa]*[-+=][rwx]+$", "Symbolic")),
        recursive=boolean(),
    ),
    Function(
        "git_status",
        "Shows the working tree status",
        obj("repo", repo=string()),
        "Status of /srv/app?",
    ),
    Function(
        "git_commit",
        "Records changes to the repository",
        model("GitCommit", "repo_path message", repo_path=string(), message=string()),
        "Commit in /srv/app with the message 'Mend the clock'.",
    ),
    Function(
        "git_log",
        "Shows the commit logs",
        model(
            "GitLog",
            "repo_path",
            repo_path=string(),
            max_count=integer(default=10),
            start_timestamp=optional(string(), description="ISO 8601 or like '2 weeks ago'"),
            end_timestamp=optional(string()),
        ),
        "What was committed in /srv/app during the last two weeks?",
    ),
    tool(
        "git.checkout",
        "Switch branches.",
        "Create the branch fix/clock from commit 1a2b3c4.",
        "branch",
        branch=pattern("^[A-Za-z0-9._/-]{1,60}$"),
        create=boolean(),
        base=pattern("^[0-9a-f]{7,40}$", "A commit"),
    ),
    tool(
        "create_pull_request_review",
        "Review a pull request.",
        "Approve pull request 42.",
        "pull_number event",
        pull_number=integer(exclusiveMinimum=0),
        event=enum("APPROVE", "REQUEST_CHANGES", "COMMENT"),
        comments=array(
            any_of(
                obj("path position body", path=PATH, position=integer(), body=string()),
                obj("path line body", path=PATH, line=integer(), body=string()),
            )
        ),
    ),
    tool(
        "run_code",
        "Run code in a sandbox and return what it prints.",
        "Compute the 30th Fibonacci number with Python.",
        "language code",
        language=enum("python", "javascript", "bash", "r"),
        code=string("The source, complete"),
        timeout_s=number(exclusiveMinimum=0, maximum=60, default=10),
        env=mapping(string(), "Environment variables"),
        stdin=nullable(string()),
    ),
    tool(
        "execute_command",
        "Run a command in the terminal.",
        "Run the tests in the folder tests/unit, quietly.",
        "command",
        command={
            "type": "array",
            "prefixItems": [enum("ls", "cat", "make", "pytest")],
            "items": string(maxLength=40),
            "minItems": 1,
            "maxItems": 8,
        },
        cwd=string(),
    ),
    tool(
        "apply_patch",
        "Change files: each operation creates, changes, moves or deletes one.",
        "Move notes.txt to doc/notes.txt and delete old.txt.",
        "operations",
        operations=array(
            one_of(
                obj("op path text", op=const("create"), path=PATH, text=string()),
                obj("op path diff", op=const("update"), path=PATH, diff=string()),
                obj("op path to", op=const("move"), path=PATH, to=PATH),
                obj("op path", op=const("delete"), path=PATH),
            ),
            minItems=1,
            maxItems=10,
        ),
    ),
    tool(
        "rename_symbol",
        "Rename a symbol in the whole project.",
        "Rename what is at line 12, column 4 of app.py to total.",
        "position new_name",
        position={
            "type": "array",
            "description": "File, line and column",
            "prefixItems": [string(), integer(minimum=1), integer(minimum=0)],
            "items": False,
            "minItems": 3,
        },
        new_name=pattern("^[A-Za-z_][A-Za-z0-9_]{0,30}$"),
    ),
]


# Databases and data.

SCALAR = any_of(string(), number(), boolean(), {"type": "null"})
COLUMN = pattern("^[a-z][a-z0-9_]{0,30}$")

DATA = [
    Function(
        "list_tables",
        "List the tables of the database.",
        {"type": "object"},
        "Which tables are there?",
    ),
    Function(
        "sql_db_query",
        "Input to this tool is a detailed and correct SQL query, output is a result from the "
        "database. If the query is not correct, an error message will be returned. If an error "
        "is returned, rewrite the query, check the query, and try again.",
        model("QuerySQLDatabaseTool", "query", query=string("A detailed and correct SQL")),
        "How many customers are there?",
    ),
    tool(
        "sql_execute",
        "Run a statement with parameters.",
        "Give me the orders of customer 7 with a parameter in the query.",
        "statement",
        statement=string(),
        params=any_of(array(SCALAR), mapping(SCALAR)),
        read_only={"const": True, "default": True},
    ),
    tool(
        "query_builder",
        "Select rows without writing SQL.",
        "The ten newest users whose name starts with A.",
        "table",
        table=enum("users", "orders", "products", "invoices"),
        columns=array(COLUMN, maxItems=12),
        where=rows(
            0,
            None,
            "column operator",
            column=COLUMN,
            operator=enum("=", "!=", "<", "<=", ">", ">=", "LIKE", "IN", "IS NULL"),
            value=any_of(SCALAR, array(SCALAR, maxItems=10)),
        ),
        order_by=array(
            {"type": "array", "prefixItems": [COLUMN, enum("asc", "desc")], "minItems": 2}
            | {"maxItems": 2}
        ),
        limit=integer(minimum=1, maximum=1000),
        offset=integer(minimum=0),
    ),
    tool(
        "mongo_find",
        "Find documents in a collection.",
        "Find the books after 1990, newest first, only their titles.",
        "collection filter",
        collection=string(),
        filter=mapping(
            any_of(
                string(),
                number(),
                obj(**{"$gt": number(), "$lt": number(), "$in": array(string())}) | CLOSED,
            )
        ),
        projection=mapping(enum(0, 1)),
        sort=mapping(enum(-1, 1)),
    ),
    Function(
        "insert_record",
        "Insert a row into a table.",
        obj("table record", table=COLUMN, record=mapping(SCALAR, minProperties=1)),
        "Add the user Ann, aged 31, to users.",
    ),
    Function(
        "create_table",
        "Create a table.",
        pydantic(
            "CreateTable",
            obj(
                "name columns",
                name=string(maxLength=63),
                columns=array(ref("Column"), minItems=1),
                primary_key=optional(array(string())),
            )
            | defs(
                Column=obj(
                    "name type",
                    name=string(),
                    type=ref("ColumnType"),
                    nullable=boolean(default=True),
                    default=optional(any_of(integer(), number(), string(), boolean())),
                ),
                ColumnType=enum("int", "text", "bool", "timestamp", "numeric"),
            ),
        ),
        "Make a table pets with an id, a name and a birthday.",
    ),
    tool(
        "vector_search",
        "Find the passages nearest to a question.",
        "What do the German documents since 2020 say about heat pumps?",
        "query",
        query=string(minLength=3),
        top_k=integer(minimum=1, maximum=50, default=5),
        filter=obj(
            language=enum("en", "de", "fr"),
            year=obj(gte=integer(minimum=1900), lte=integer(maximum=2100)),
        ),
        weights={
            "type": "array",
            "items": number(minimum=0, maximum=1),
            "minItems": 2,
            "maxItems": 2,
        },
    ),
    Function(
        "redis.set",
        "Set a key.",
        obj("key value", key=string(), value=string(), ttl=integer("Seconds", minimum=1)),
        "Keep session:42 as 'open' for an hour.",
    ),
    Function(
        "make_chart",
        "Draw a chart of data.",
        obj(
            "spec",
            spec=obj(
                "mark encoding",
                mark=any_of(
                    enum("bar", "line", "point", "area"),
                    obj("type", type=enum("bar", "line"), opacity=number(minimum=0, maximum=1)),
                ),
                encoding=obj("x y", x=ref("channel"), y=ref("channel"), color=ref("channel")),
            ),
            data=array(mapping(any_of(string(), number())), minItems=1),
        )
        | defs(
            channel=obj(
                "field",
                field=string(),
                type=enum("quantitative", "nominal", "ordinal", "temporal"),
                aggregate=enum("sum", "mean", "count", "max"),
                scale=obj(domain=array(number(), minItems=2, maxItems=2), zero=boolean()),
            )
        ),
        "Draw bars: apples 3, pears 5.",
    ),
    tool(
        "spreadsheet_update",
        "Write values into a range of a sheet.",
        "Put 1, 2, 3 into A1:C1.",
        "range values",
        range=pattern("^[A-Z]{1,2}[1-9][0-9]{0,3}(:[A-Z]{1,2}[1-9][0-9]{0,3})?$"),
        values=array(array(SCALAR, maxItems=26), minItems=1, maxItems=50),
    ),
    Function(
        "describe_column",
        "Statistics of a column.",
        zod4("table column", table=string(), column=string(), bins=integer(minimum=2)),
        "How is the column age of the table users distributed?",
    ),
    Function(
        "graphql",
        "Run a GraphQL query.",
        obj("query", query=string(), variables={"type": ["object", "null"]} | OPEN),
        "Ask the API for the viewer's login.",
    ),
]


# The web.

WEB = [
    Function("web_search", "Search the web.", obj("q", q=string("Words")), "Who won in 2022?"),
    tool(
        "brave_web_search",
        "Search the web, with pages of results.",
        "Search for heat pump noise limits, the second page.",
        "query",
        query=string("Search query (max 400 chars, 50 words)"),
        count=number("Number of results (1-20, default 10)", default=10),
        offset=number("Pagination offset (max 9, default 0)", default=0),
    ),
    Function(
        "tavily_search_results_json",
        "A search engine for comprehensive, accurate, and trusted results.",
        model(
            "TavilyInput",
            "query",
            query=string("Search query to look up"),
            search_depth=optional(enum("basic", "advanced")),
            topic=optional(enum("general", "news", "finance")),
            include_domains=optional(array(string())),
            exclude_domains=optional(array(string())),
            days=optional(integer(exclusiveMinimum=0)),
        ),
        "Find last week's news about the moon mission, not from blogs.",
    ),
    Function(
        "fetch",
        "Fetches a URL from the internet and extracts its contents as markdown.",
        model(
            "Fetch",
            "url",
            url=form("uri", "URL to fetch", minLength=1),
            max_length=integer(default=5000, exclusiveMinimum=0, exclusiveMaximum=1000000),
            start_index=integer(default=0, minimum=0),
            raw=boolean(default=False),
        )
        | about("Parameters for fetching a URL."),
        "Read https://example.org/news for me.",
    ),
    tool(
        "http_request",
        "Send an HTTP request.",
        "POST the name Ann to https://api.example.com/users with the token abc.",
        "method url",
        method=enum("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"),
        url=pattern("^https?://[^ ]+$"),
        headers=mapping(string(maxLength=80)),
        query=mapping(any_of(string(), array(string()))),
        body=any_of(string(), mapping(True), {"type": "null"}),
        auth=one_of(
            obj("scheme token", scheme=const("bearer"), token=string()),
            obj("scheme user", scheme=const("basic"), user=string(), password=string()),
        ),
    ),
    Function(
        "browser_click",
        "Perform click on a web page",
        zod4(
            "element ref",
            element=string("Human-readable element description"),
            ref=string("Exact target element reference from the page snapshot"),
            button=enum("left", "right", "middle"),
            modifiers=array(enum("Alt", "Control", "ControlOrMeta", "Meta", "Shift")),
            doubleClick=boolean(),
        ),
        "Click the button 'Accept', which is e12.",
    ),
    tool(
        "sequentialthinking",
        "A tool for thinking through a problem in steps that may be revised. Each thought can "
        "build on, question or revise earlier ones. Start with an estimate of how many thoughts "
        "are needed and adjust it as you go. Say when a thought revises another one, and which. "
        "Set nextThoughtNeeded to false only when the answer is found.",
        "Think step by step about how to seat nine guests at two tables.",
        "thought nextThoughtNeeded thoughtNumber totalThoughts",
        thought=string("Your current thinking step"),
        nextThoughtNeeded=boolean("Whether another thought step is needed"),
        thoughtNumber=integer("Current thought number", minimum=1),
        totalThoughts=integer("Estimated total thoughts needed", minimum=1),
        isRevision=boolean("Whether this revises previous thinking"),
        revisesThought=integer("Which thought is being reconsidered", minimum=1),
    ),
]


# Money.

MONEY = obj("amount currency", amount=pattern(r"^\d+\.\d{2}$"), currency=enum("EUR", "USD"))

FINANCE = [
    Function(
        "get_stock_price",
        "Price of a share.",
        obj("symbol", symbol=pattern(r"^[A-Z]{1,5}(\.[A-Z]{1,2})?$", "Ticker symbol")),
        "What does a share of VOW.DE cost?",
    ),
    tool(
        "get_price_history",
        "Prices of a share in the past.",
        "Weekly prices of MSFT over five years.",
        "symbol interval",
        symbol=string(minLength=1, maxLength=8),
        interval=enum("1m", "5m", "1h", "1d", "1wk", "1mo"),
        range=enum("1d", "5d", "1mo", "6mo", "1y", "5y", "max"),
        adjusted=boolean(default=True),
    ),
    tool(
        "convert_currency",
        "Convert an amount of money.",
        "How many euros are 250 dollars?",
        "amount from_currency to_currency",
        amount=number("The amount", exclusiveMinimum=0),
        from_currency=pattern("^[A-Z]{3}$", examples=["USD"]),
        to_currency=pattern("^[A-Z]{3}$", examples=["EUR"]),
    ),
    Function(
        "transfer_money",
        "Transfer money to an account.",
        strict(
            iban=pattern("^[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}$"),
            amount_cents=integer(minimum=1, maximum=1000000),
            reference=nullable(string()),
            execute_on=nullable(form("date")),
        ),
        "Send 12.50 euros to DE89370400440532013000 for lunch.",
    ),
    tool(
        "create_invoice",
        "Write an invoice.",
        "Invoice Acme for three hours of work at 80 euros with 19 percent tax.",
        "customer lines",
        customer=obj("name", name=string(), vat_id=pattern("^[A-Z]{2}[0-9A-Z]{8,12}$")),
        lines=rows(
            1,
            None,
            "text quantity unit_price",
            text=string(maxLength=80),
            quantity=number(minimum=0.01, maximum=9999.99),
            unit_price=number(minimum=0),
            tax=enum(0, 7, 19),
        ),
        due_days=integer(default=14),
        paid=boolean(),
    ),
    tool(
        "loan_calculator",
        "Monthly rate of a loan.",
        "What are the rates of 200000 at 3.5 percent over 20 years?",
        "principal rate years",
        principal=number(minimum=1000, maximum=5000000),
        rate=number("Percent a year", exclusiveMinimum=0, maximum=25.5),
        years=integer(minimum=1, maximum=40),
        kind=enum("annuity", "linear"),
    ),
    tool(
        "categorize_transaction",
        "Say what a payment was for.",
        "txn_8f3kQ92mZx1a was for groceries.",
        "transaction_id category",
        transaction_id=pattern("^txn_[A-Za-z0-9]{12}$"),
        category=enum("groceries", "rent", "travel", "health", "fun", "other"),
        split=rows(2, 4, "category share", category=string(), share=number(minimum=0, maximum=1)),
    ),
    tool(
        "set_budget",
        "Limits for each category in a month.",
        "In May 2026 I want to spend at most 400 on food and 99.50 on fun.",
        "month limits",
        month=pattern(r"^\d{4}-(0[1-9]|1[0-2])$"),
        limits=mapping(number(minimum=0, multipleOf=0.25), minProperties=1, maxProperties=12),
    ),
    tool(
        "crypto_price",
        "Prices of crypto coins.",
        "How much is one bitcoin in euros?",
        "ids",
        ids=array(enum("bitcoin", "ethereum", "solana", "monero"), minItems=1),
        vs=enum("usd", "eur", "gbp", default="usd"),
    ),
    tool(
        "wallet.send",
        "Send coins to an address.",
        "Send 0.05 to 0x52908400098527886E0F7030069857D2E4169EE7.",
        "to value",
        to=pattern("^0x[0-9a-fA-F]{40}$"),
        value=pattern(r"^[0-9]{1,9}(\.[0-9]{1,18})?$", "Decimal, as text"),
        gas=obj(limit=integer(minimum=21000), priority=enum("low", "medium", "high")),
    ),
    tool(
        "refund_payment",
        "Give money back.",
        "Refund payment pi_3Nq completely, it was a duplicate.",
        "payment",
        payment=string(),
        amount=optional(MONEY),
        reason=enum("duplicate", "fraudulent", "requested_by_customer"),
        metadata=mapping(string(maxLength=100), maxProperties=5),
    ),
    tool(
        "place_order",
        "Buy or sell shares.",
        "Buy ten shares of SAP for at most 180.25 each.",
        "symbol side order",
        symbol=string(maxLength=10),
        side=enum("buy", "sell"),
        order=one_of(
            obj("type quantity", type=const("market"), quantity=integer(minimum=1)),
            obj(
                "type quantity price",
                type=const("limit"),
                quantity=integer(minimum=1),
                price=number(exclusiveMinimum=0),
                valid=enum("day", "gtc"),
            ),
        ),
    ),
]


# Tickets, customers, chats.

DOC = obj(
    "type",
    type=enum("doc", "paragraph", "text", "heading"),
    text=string(),
    content=array(ref("doc"), maxItems=6),
)

OFFICE = [
    tool(
        "jira_create_issue",
        "Create an issue.",
        "File a bug in WEB: the login page is blank.",
        "project_key summary issue_type",
        project_key=pattern("^[A-Z][A-Z0-9_]{1,9}$", "The key, e.g. 'PROJ'"),
        summary=string(),
        issue_type=enum("Task", "Bug", "Story", "Epic", "Subtask"),
        assignee=optional(string()),
        components=optional(string(), description="Names separated by commas"),
        additional_fields=optional(mapping(True)),
    ),
    Function(
        "jira_search",
        "Search issues with JQL.",
        model(
            "JiraSearch",
            "jql",
            jql=string("e.g. 'project = PROJ AND status = Done'"),
            fields=any_of(string(), array(string())) | {"default": "summary,status"},
            limit=integer(default=10, minimum=1, maximum=50),
            start_at=integer(default=0, minimum=0),
            expand=optional(string()),
        ),
        "Which issues of WEB are still open?",
    ),
    tool(
        "jira_transition",
        "Move an issue to another state.",
        "Move WEB-123 with transition 31.",
        "issue transition",
        issue=pattern("^[A-Z]{2,10}-[0-9]{1,6}$"),
        transition=obj("id", id=pattern("^[0-9]{1,3}$")),
        update=obj(comment=array(obj(add=obj(body=string())), maxItems=1)),
    ),
    Function(
        "create_document",
        "Create a page of rich text, as a tree.",
        obj("title body", title=string(maxLength=90), body=ref("doc")) | defs(doc=DOC),
        "Make a page 'Rules' with a heading and one sentence.",
    ),
    Function(
        "create_issue",
        "Create a new issue in a GitHub repository",
        zod(
            "owner repo title",
            owner=string(),
            repo=string(),
            title=string(),
            body=string(),
            assignees=strings(),
            milestone=number(),
            labels=strings(),
        ),
        "Open an issue in acme/site: 'Broken link', label bug.",
    ),
    tool(
        "slack_post_message",
        "Post a new message to a Slack channel",
        "Say hello in C0123456789.",
        "channel_id text",
        channel_id=string("The ID of the channel to post to"),
        text=string("The message text to post"),
    ),
    tool(
        "slack_reply_to_thread",
        "Reply to a specific message thread in Slack",
        "Answer 'done' to 1712345678.000200 in C0123456789.",
        "channel_id thread_ts text",
        channel_id=pattern("^[CGD][A-Z0-9]{8,10}$"),
        thread_ts=pattern(r"^\d{10}\.\d{6}$", "In the format '1234567890.123456'"),
        text=string(),
    ),
    Function(
        "slack_post_blocks",
        "Post a message of blocks.",
        obj(
            "channel blocks",
            channel=pattern("^#[a-z0-9_-]{1,40}$"),
            blocks=array(
                one_of(
                    obj("type text", type=const("section"), text=ref("text")),
                    obj("type text", type=const("header"), text=ref("text")),
                    obj("type", type=const("divider")),
                    obj(
                        "type elements",
                        type=const("actions"),
                        elements=rows(1, 5, "type text", type=const("button"), text=ref("text")),
                    ),
                ),
                minItems=1,
                maxItems=10,
            ),
        )
        | defs(text=obj("type text", type=enum("plain_text", "mrkdwn"), text=string())),
        "Post a header 'Release' and a button 'Open' in #news.",
    ),
    Function(
        "add_reaction",
        "React to a message with an emoji.",
        obj("emoji", emoji=enum("👍", "👎", "❤️", "🎉"), message=integer(minimum=1)),
        "Thumbs up for message 17.",
    ),
    Function(
        "post_comment_thread",
        "Post a comment with its replies.",
        obj("post thread", post=integer(), thread=ref("comment"))
        | defs(
            comment=obj(
                "author text",
                author=string(maxLength=30),
                text=string(maxLength=100),
                replies=array(ref("comment"), maxItems=5, default=[]),
            )
            | CLOSED
        ),
        "On post 9, Ann asks 'When?' and Bob replies 'Tomorrow'.",
    ),
    tool(
        "crm.upsert_contact",
        "Create or change a contact.",
        "Add the lead Ann Lee with ann@example.com.",
        "properties",
        id=any_of(integer(), form("uuid")),
        properties=obj(
            "e-mail",
            **{"e-mail": form("email"), "first name": string(), "last name": string()},
            lifecycle=enum("lead", "customer", "former"),
        )
        | mapping(string()),
        owners=array(integer(), minItems=1, maxItems=3),
    ),
    tool(
        "crm.search",
        "Search contacts by groups of filters: all of a group hold, of any group.",
        "Customers in Berlin or Hamburg.",
        "filterGroups",
        filterGroups=rows(
            0,
            3,
            "filters",
            filters=array(
                any_of(
                    obj(
                        "propertyName operator value",
                        propertyName=string(),
                        operator=enum("EQ", "NEQ", "LT", "GT"),
                        value=string(),
                    ),
                    obj(
                        "propertyName operator values",
                        propertyName=string(),
                        operator=enum("IN", "NOT_IN"),
                        values=strings(minItems=1),
                    ),
                    obj(
                        "propertyName operator",
                        propertyName=string(),
                        operator=enum("HAS_PROPERTY", "NOT_HAS_PROPERTY"),
                    ),
                ),
                minItems=1,
                maxItems=3,
            ),
        ),
        after=string(),
    ),
    tool(
        "zendesk-update-ticket",
        "Change a support ticket.",
        "Solve ticket 3301 and tell the customer that the part is on its way.",
        "ticket_id",
        ticket_id=integer(minimum=1),
        status=enum("new", "open", "pending", "solved", "closed"),
        comment=obj("body", body=string(), public=boolean(default=True)),
        custom_fields=rows(
            0, None, "id value", id=integer(), value=any_of(string(), strings(), boolean())
        ),
    ),
    Function(
        "transfer_to_agent",
        "Hand the conversation over to another agent.",
        obj("agent reason", agent=enum("billing", "sales", "support"), reason=string(maxLength=90)),
        "I want to talk to somebody about my bill.",
    ),
]


# Machines.

LABELS = mapping(pattern("^[A-Za-z0-9]([A-Za-z0-9._-]{0,30}[A-Za-z0-9])?$"), "Labels")
K8S_NAME = pattern("^[a-z0-9]([a-z0-9-]{0,40}[a-z0-9])?$")

MACHINES = [
    Function(
        "k8s.scale",
        "Change the number of replicas.",
        obj("deployment replicas", deployment=K8S_NAME, replicas=integer(minimum=0, maximum=50)),
        "Run five of web-front.",
    ),
    Function(
        "k8s.apply_deployment",
        "Create or change a deployment.",
        obj(
            "metadata spec",
            metadata=obj("name", name=K8S_NAME, labels=LABELS, annotations=mapping(string())),
            spec=obj(
                "template",
                replicas=integer(minimum=0),
                template=obj(
                    "containers",
                    containers=rows(
                        1,
                        4,
                        "name image",
                        name=K8S_NAME,
                        image=pattern("^[a-z0-9./-]{1,60}(:[A-Za-z0-9._-]{1,30})?$"),
                        ports=array(obj("containerPort", containerPort=ref("port"))),
                        env=array(obj("name", name=string(), value=string())),
                        resources=obj(limits=ref("amounts"), requests=ref("amounts")),
                    ),
                ),
            ),
        )
        | defs(
            port=integer(minimum=1, maximum=65535),
            amounts=obj(cpu=pattern("^[0-9]{1,4}m?$"), memory=pattern("^[0-9]{1,5}(Ki|Mi|Gi)$"))
            | CLOSED,
        ),
        "Deploy nginx:1.27 as 'web' with two replicas and 256Mi.",
    ),
    tool(
        "docker_run",
        "Start a container.",
        "Run redis:7 with port 6379 on 6380, always restart it.",
        "image",
        image=string(),
        ports=mapping(integer(minimum=1, maximum=65535), "From container to host"),
        volumes=array(
            {
                "type": "array",
                "prefixItems": [string(), string(), enum("ro", "rw")],
                "items": False,
                "minItems": 2,
            }
        ),
        restart=enum("no", "always", "unless-stopped", "on-failure"),
        environment={"type": "object", "patternProperties": {"^[A-Z_]+$": string()}} | CLOSED,
    ),
    Function("docker_ps", "List containers.", obj(all=boolean(default=False)), "What is running?"),
    tool(
        "prometheus_query",
        "Ask for metrics.",
        "How many requests were there in a second during the last hour, by minute?",
        "query",
        query=string("PromQL"),
        time=any_of(form("date-time"), number("Unix time")),
        step=pattern(r"^([0-9]+(ms|[smhdwy]))+$"),
    ),
    tool(
        "create_alert_rule",
        "Send an alert when a measurement is out of bounds.",
        "Page us and write a mail when the disk is over 90 percent for 10 minutes.",
        "metric condition",
        metric=enum("cpu", "memory", "disk", "latency_ms", "errors"),
        condition=one_of(
            obj("above", above=number()) | CLOSED,
            obj("below", below=number()) | CLOSED,
            obj("outside", outside=array(number(), minItems=2, maxItems=2)) | CLOSED,
        ),
        window=pattern("^[1-9][0-9]?[smh]$"),
        severity=enum("info", "warning", "critical"),
        channels=array(enum("mail", "sms", "chat", "pager"), minItems=1, uniqueItems=True),
    ),
    tool(
        "search_logs",
        "Search logs.",
        "Errors of the service shop with status 502.",
        "query",
        query=string(),
        **{"from": form("date-time"), "to": form("date-time")},
        levels=array(enum("debug", "info", "warn", "error"), uniqueItems=True),
        **{"@service": string(), "http.status_code": integer(minimum=100, maximum=599)},
        tail=boolean(),
    ),
    tool(
        "restart_service",
        "Restart a service on a host.",
        "Restart nginx.service on 192.168.1.20.",
        "host service",
        host=any_of(form("ipv4"), form("hostname")),
        service=pattern(r"^[a-z0-9@._-]{1,40}\.service$"),
        graceful=boolean(default=True),
    ),
    tool(
        "firewall.add_rule",
        "Allow or deny traffic.",
        "Allow tcp from 10.0.0.0/8 to ports 80 and 8000 to 8080.",
        "action protocol",
        action=enum("allow", "deny"),
        protocol=enum("tcp", "udp", "icmp"),
        source=pattern(r"^(\d{1,3}\.){3}\d{1,3}/([0-9]|[12][0-9]|3[0-2])$", "CIDR"),
        ports=array(
            any_of(
                integer(minimum=1, maximum=65535),
                obj("from to", **{"from": integer(minimum=1), "to": integer(minimum=1)}),
            ),
            maxItems=15,
        ),
    ),
    Function(
        "ping",
        "Ping a host.",
        obj("host", host=form("ipv4"), count=integer(minimum=1, maximum=9)),
        "Ping 10.0.0.1 twice.",
    ),
    Function(
        "dns_record",
        "Create a DNS record.",
        obj("zone record", zone=form("hostname"), record=one_of(ref("A"), ref("MX"), ref("TXT")))
        | defs(
            A=obj("type address", type=const("A"), address=form("ipv4"), ttl=ref("ttl")),
            MX=obj(
                "type priority host",
                type=const("MX"),
                priority=integer(minimum=0, maximum=65535),
                host=form("hostname"),
                ttl=ref("ttl"),
            ),
            TXT=obj("type text", type=const("TXT"), text=string(maxLength=100), ttl=ref("ttl")),
            ttl=enum(60, 300, 3600, 86400),
        ),
        "In example.org, point www at 203.0.113.9.",
    ),
    Function(
        "create_cron_job",
        "Run a command again and again.",
        zod(
            "schedule command",
            schedule=pattern(r"^([0-9*/,-]+ ){4}[0-9*/,-]+$", "Five fields"),
            command=string(minLength=1),
            enabled=boolean(default=True),
        ),
        "Run backup.sh at 3 every night.",
    ),
    Function(
        "deploy",
        "Deploy a version.",
        obj(
            "environment version",
            environment=enum("staging", "production"),
            version=pattern(r"^v?\d+\.\d+\.\d+(-[a-z0-9.]+)?$", "Semantic version"),
        )
        | {
            "if": obj(environment=const("production")),
            "then": obj("approved_by", approved_by=string(minLength=2)),
        },
        "Bring 2.4.1 to production, Kim approved it.",
    ),
    tool(
        "feature_flag",
        "Switch a feature on for some.",
        "Give new-search to a tenth of the users.",
        "flag rollout",
        flag=pattern("^[a-z]+(-[a-z]+)*$"),
        rollout=any_of(
            boolean(),
            number("Share of the users", exclusiveMinimum=0, exclusiveMaximum=1),
            obj("countries", countries=array(pattern("^[A-Z]{2}$"), minItems=1)),
        ),
    ),
    tool(
        "create-vm",
        "Create a virtual machine.",
        "A machine with four cores, 16 GB and a disk of 64 GB, for the team web.",
        "cpu memory_gb",
        cpu=enum(1, 2, 4, 8, 16),
        memory_gb=integer(minimum=1, maximum=256),
        disks=array(obj("gb", gb=integer(minimum=8, maximum=4096, multipleOf=8)), maxItems=4),
        image={"const": "debian-13", "type": "string"},
        tags=mapping(string(), propertyNames=pattern("^[a-z]{1,12}$"), maxProperties=3),
    ),
]


# Language, units, numbers, pictures.

TOOLS = [
    tool(
        "translate_text",
        "Translate a text.",
        "What is 'good morning' in Brazilian Portuguese?",
        "text target",
        text=string(),
        target=pattern("^[a-z]{2}(-[A-Z]{2})?$", "Language, e.g. pt-BR"),
        formality=enum("less", "default", "more"),
        glossary=mapping(string(maxLength=50), maxProperties=10),
    ),
    Function(
        "detect_language",
        "Which language a text is in.",
        obj("texts", texts=array(string(minLength=1), minItems=1, maxItems=5)),
        "Which language is 'dobrý den'?",
    ),
    Function(
        "convert_units",
        "Convert a measurement.",
        one_of(
            obj("length", length=ref("length")) | CLOSED,
            obj("mass", mass=ref("mass")) | CLOSED,
            obj("temperature", temperature=ref("temperature")) | CLOSED,
        )
        | defs(
            length=obj("value to", value=number(minimum=0), to=enum("m", "km", "mi", "ft")),
            mass=obj("value to", value=number(minimum=0), to=enum("kg", "lb", "oz")),
            temperature=obj("value to", value=number(minimum=-273.15), to=enum("C", "F", "K")),
        ),
        "How many kilometres are 26.2 miles?",
    ),
    Function(
        "Calculator",
        "Useful for when you need to answer questions about math.",
        obj("__arg1", __arg1=string()),
        "What is 17 times 23?",
    ),
    Function(
        "evaluate_expression",
        "Compute an expression, written as a tree.",
        obj("expression", expression=ref("node"))
        | defs(
            node=any_of(number(), obj("op args", op=ref("op"), args=ref("args")) | CLOSED),
            op=enum("add", "sub", "mul", "div", "pow"),
            args=array(ref("node"), minItems=2, maxItems=3),
        ),
        "Compute (3 + 4) * 5.",
    ),
    tool(
        "solve_linear",
        "Solve linear equations.",
        "Solve 2x + y = 5 and x - y = 1.",
        "matrix vector",
        matrix=array(array(number(), minItems=2, maxItems=4), minItems=2, maxItems=4),
        vector=array(number(), minItems=2, maxItems=4),
    ),
    Function(
        "random_number",
        "Random numbers.",
        zod("min max", min=integer(), max=integer(), count=integer(minimum=1, maximum=10)),
        "Roll two dice.",
    ),
    tool(
        "generate_image",
        "Make a picture from a description.",
        "Paint a lighthouse in a storm, naturally.",
        "prompt",
        prompt=string("What is to be seen", minLength=1),
        size=enum("256x256", "512x512", "1024x1024"),
        n=integer(minimum=1, maximum=4, default=1),
        style=enum("vivid", "natural"),
        seed=any_of(integer(minimum=0, maximum=4294967295), {"type": "null"}),
        guidance=number(minimum=1, maximum=20, multipleOf=0.25),
    ),
    tool(
        "image.crop",
        "Cut out a part of a picture.",
        "Cut the left half out of cat.png.",
        "box",
        box={
            "type": "array",
            "description": "Left, top, right, bottom as shares",
            "items": number(minimum=0, maximum=1),
            "minItems": 4,
            "maxItems": 4,
        },
        file=pattern(r"^[A-Za-z0-9_-]{1,30}\.(png|jpe?g|webp)$"),
    ),
    Function(
        "draw_shapes",
        "Draw shapes on a canvas.",
        obj(
            "shapes",
            shapes=array(one_of(ref("Circle"), ref("Rect"), ref("Group")), minItems=1, maxItems=8),
            background=enum("white", "black", "none"),
        )
        | defs(
            Point=obj("x y", x=number(), y=number()) | CLOSED,
            Circle=obj(
                "kind center r",
                kind=const("circle"),
                center=ref("Point"),
                r=number(exclusiveMinimum=0),
            ),
            Rect=obj("kind corners", kind=const("rect"), corners=array(ref("Point"), minItems=2)),
            Group=obj(
                "kind members",
                kind=const("group"),
                members=array(one_of(ref("Circle"), ref("Rect"), ref("Group")), maxItems=4),
            ),
        ),
        "Draw a circle of radius 10 at the origin.",
    ),
    tool(
        "text_to_speech",
        "Speak a text.",
        "Say 'welcome' slowly.",
        "input",
        input=string(maxLength=100),
        voice=enum("alloy", "echo", "nova", default="nova"),
        speed=number(minimum=0.25, maximum=4.0),
    ),
    Function(
        "extract_person",
        "Store what a text says about a person.",
        pydantic(
            "Person",
            obj(
                "name age",
                name=string(),
                age=optional(integer(minimum=0, maximum=130)),
                is_student=boolean(default=False),
                relatives=array(ref("Relative"), default=[]),
            )
            | defs(
                Relative=obj(
                    "name relation", name=string(), relation=enum("parent", "child", "sibling")
                )
            ),
        ),
        "Ann is 30 and the sister of Bob.",
    ),
    Function(
        "classify_text",
        "Say what a text is about.",
        strict(
            labels=array(enum("politics", "sport", "science", "culture")),
            confidence=number(),
            language=string(),
            sentiment=enum("negative", "neutral", "positive"),
        ),
        "The team won the cup after extra time.",
    ),
    Function(
        "quiz.answer",
        'Answer a question of a quiz; "I don\'t know" is allowed.',
        obj(
            **{
                'the "answer"': enum("A", "B", "C", "D", "I don't know"),
                "how sure?": integer("Percent", minimum=0, maximum=100),
                "warum / why": string(maxLength=60),
            }
        )
        | {"required": ['the "answer"']},
        "Which is the largest planet? A: Mars, B: Jupiter, C: Venus, D: Saturn",
    ),
    Function(
        "define_word",
        "Look a word up in a dictionary.",
        obj("word", word=pattern(r"^\S{1,40}$"), 言語=enum("日本語", "英語", "中文")),
        "「猫」とは何ですか。",
    ),
    Function(
        "validate_regex",
        "Try a regular expression on examples.",
        obj("regex examples", regex=form("regex"), examples=strings(minItems=1, maxItems=5)),
        "Does ^a+$ match 'aaa'?",
    ),
]


FUNCTIONS: list[Function] = [
    *WEATHER,
    *HOME,
    *CALENDAR,
    *MAIL,
    *PERSONAL,
    *FILES,
    *DATA,
    *WEB,
    *TRAVEL,
    *FINANCE,
    *SHOP,
    *MEDIA,
    *HEALTH,
    *OFFICE,
    *MACHINES,
    *TOOLS,
]
