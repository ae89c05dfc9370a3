"""Tools of private life: home, calendar, mail, travel, shops, media, health."""

from .functionschemas import (
    CLOCK,
    CLOSED,
    DATE,
    DAYS,
    LATITUDE,
    LONGITUDE,
    OPEN,
    Function,
    about,
    all_of,
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

# Weather and surroundings.

WEATHER = [
    tool(
        "get_current_weather",
        "Get the current weather in a given location",
        "What is the weather like in Boston today?",
        "location",
        location=string("The city and state, e.g. San Francisco, CA"),
        unit=enum("celsius", "fahrenheit"),
    ),
    Function(
        "get_weather",
        "Get current temperature for provided coordinates in celsius.",
        strict(latitude=number(), longitude=number()),
        "How warm is it in Paris right now? It lies at 48.85 north, 2.35 east.",
    ),
    tool(
        "weather.forecast",
        "Forecast for a place over several days, by day or by hour.",
        "Give me the hourly rain forecast for Oslo for the next three days.",
        "location days",
        location=obj("lat lon", lat=LATITUDE, lon=LONGITUDE),
        days=integer("How many days ahead", minimum=1, maximum=16),
        hourly=boolean("One row for each hour instead of each day", default=False),
        variables=array(
            enum("temperature", "precipitation", "wind", "humidity", "uv_index"),
            minItems=1,
            maxItems=5,
            uniqueItems=True,
        ),
    ),
    Function(
        "get_air_quality",
        "Air quality index and pollutants at a place.",
        model(
            "AirQualityInput",
            "city",
            city=string("Name of the city"),
            country=optional(pattern("^[A-Z]{2}$"), description="ISO 3166-1 alpha-2 code"),
            pollutants=optional(array(enum("pm10", "pm25", "no2", "o3", "so2", "co"))),
        ),
        "How bad is the air in Krakow today? I care about fine dust.",
    ),
    tool(
        "get_sun_times",
        "Sunrise and sunset of a day.",
        "When does the sun set in Lisbon on 21 June 2026?",
        "date",
        date=form("date", "The day, e.g. 2026-06-21"),
        kind=enum("civil", "nautical", "astronomical", about="Which twilight"),
        city=string(minLength=2, maxLength=60),
    ),
    Function(
        "get_tides",
        "High and low water at a harbour.",
        zod(
            "station",
            station=pattern(r"^\d{7}$", "Seven digits, as in the list of stations"),
            datum=enum("MLLW", "MSL", "NAVD", default="MLLW"),
            hours=integer(exclusiveMinimum=0, maximum=168),
        ),
        "When is high water at station 8443970 during the next two days?",
    ),
    tool(
        "subscribe_weather_alerts",
        "Send a message when an official warning is issued for one of the areas.",
        "Warn me at ann@example.org of severe storms in area NYZ072.",
        "areas min_severity",
        areas=array(pattern("^[A-Z]{2}[CZ][0-9]{3}$"), minItems=1, maxItems=10),
        min_severity=enum(1, 2, 3, 4, about="1 is minor, 4 is extreme"),
        notify=obj("email", email=form("email"), phone=pattern(r"^\+[1-9]\d{6,14}$")),
    ),
    Function(
        "pollen_count",
        "Pollen in the air for a postcode.",
        obj("plz", plz=pattern("^[0-9]{5}$", "Postleitzahl"), art=enum("Gräser", "Birke", "Erle")),
        "Wie stark fliegen die Birkenpollen in 79098?",
    ),
]


# The home.

ENTITY = pattern(r"^[a-z_]+\.[a-z0-9_]+$", "The entity, e.g. light.kitchen")
AREA = {
    "name": string("Name of the device"),
    "area": string("Name of the area"),
    "floor": string("Name of the floor"),
}
COLOR = array(integer(minimum=0, maximum=255), minItems=3, maxItems=3)

HOME = [
    Function("GetLiveContext", "The state of all devices in the home.", None, "Is any light on?"),
    Function("GetDateTime", "Provides the current date and time.", obj(), "What time is it?"),
    tool(
        "HassTurnOn",
        "Turns on, opens or presses a device or entity.",
        "Turn on the fan in the bedroom.",
        **AREA,
        domain=array(string(), "Domains of the entities"),
        device_class=array(enum("blind", "curtain", "garage", "outlet", "switch")),
    ),
    tool(
        "HassLightSet",
        "Sets the brightness percentage or color of a light.",
        "Dim the floor lamp in the living room to 30 percent.",
        **AREA,
        color=string(),
        temperature=integer("Colour temperature in kelvin", minimum=0),
        brightness=integer("0 is off and 100 is brightest", minimum=0, maximum=100),
    ),
    tool(
        "light_turn_on",
        "Turn on lights, with colour and brightness.",
        "Make light.kitchen and light.hall warm orange at full brightness over 2.5 seconds.",
        "entity_id",
        entity_id=any_of(ENTITY, array(ENTITY, minItems=1, maxItems=20)),
        brightness=integer(minimum=0, maximum=255),
        rgb_color=COLOR,
        transition=number("Seconds", minimum=0, maximum=300, multipleOf=0.5),
        effect=nullable(enum("colorloop", "random")),
    ),
    Function(
        "light.set_hex",
        "Set the colour of a strip of lights.",
        strict(
            strip=enum("desk", "shelf", "stairs"),
            color=pattern("^#[0-9a-fA-F]{6}$", "Hex colour, e.g. #ff8800"),
            gradient_to=nullable(pattern("^#[0-9a-fA-F]{6}$")),
        ),
        "Let the stairs fade from #ff0000 to #0000ff.",
    ),
    tool(
        "climate_set_temperature",
        "Set the target temperature of a thermostat.",
        "Heat the bathroom, climate.bathroom, to 22 and a half degrees.",
        "entity_id temperature",
        entity_id=pattern(r"^climate\.[a-z0-9_]+$"),
        temperature=number(minimum=5, maximum=30.5, multipleOf=0.5),
        hvac_mode=enum("off", "heat", "cool", "heat_cool", "auto", "dry", "fan_only"),
    ),
    tool(
        "climate_set_schedule",
        "Replace the weekly schedule of a heating zone.",
        "Heat the study to 21 degrees on weekdays from 8:00 until 17:30.",
        "zone blocks",
        zone=string(minLength=1, maxLength=40),
        blocks=rows(
            1,
            8,
            "days from target",
            days=array(enum(*DAYS), minItems=1, maxItems=7, uniqueItems=True),
            **{"from": pattern(CLOCK), "until": pattern(CLOCK)},
            target=number(minimum=5, exclusiveMaximum=30),
        ),
    ),
    tool(
        "cover.set_position",
        "Move a blind, a shutter or a garage door.",
        "Close the living room blind, cover.living_room, halfway.",
        "entity_id position",
        entity_id=string("Starts with cover."),
        position=integer("0 is closed, 100 is open", minimum=0, maximum=100),
        tilt=integer(minimum=0, maximum=100),
    ),
    Function(
        "activate_scene",
        "Activate one of the scenes of the house.",
        obj("scene", scene=enum("Movie Night", "Good Morning", "Dinner", "All Off", "Away")),
        "We are going to watch a film.",
    ),
    Function(
        "HassListAddItem",
        "Add an item to a list",
        obj("item name", item=string(), name=string("Which list, e.g. Shopping")),
        "Put oat milk on the shopping list.",
    ),
    tool(
        "shopping_list-add-many",
        "Add several items to the shopping list.",
        "We need 500 g of flour, six eggs and a litre of milk.",
        "items",
        items=array(
            obj(
                "name",
                name=string(maxLength=60),
                quantity=number(exclusiveMinimum=0),
                unit=enum("piece", "g", "kg", "ml", "l", "pack"),
                done=boolean(default=False),
            )
            | CLOSED,
            minItems=1,
        ),
    ),
    Function(
        "lock_door",
        "Lock or unlock a door. Unlocking needs the code.",
        one_of(
            obj("action door", action=const("lock"), door=enum("front", "back", "garage")),
            obj(
                "action door code",
                action=const("unlock"),
                door=enum("front", "back", "garage"),
                code=pattern("^[0-9]{4,8}$"),
            ),
        )
        | {"type": "object"},
        "Unlock the back door, the code is 4711.",
    ),
    Function(
        "alarm_panel",
        "Arm or disarm the alarm.",
        zod4(
            "mode",
            mode=enum("disarmed", "armed_home", "armed_away", "armed_night"),
            code=pattern(r"^\d{6}$"),
            bypass=array(enum("kitchen_window", "cellar_door", "attic"), maxItems=3),
        ),
        "Arm the alarm for the night but leave out the attic.",
    ),
    tool(
        "vacuum_clean_rooms",
        "Let the robot clean certain rooms.",
        "Vacuum the kitchen and the hall twice, quietly please.",
        "rooms",
        rooms=array(
            enum("kitchen", "hall", "living_room", "bedroom"), minItems=1, uniqueItems=True
        ),
        passes=enum(1, 2, 3),
        suction=enum("quiet", "standard", "max", default="standard"),
    ),
    Function(
        "create_automation",
        "Create an automation: when a trigger fires and all conditions hold, actions are run in "
        "order. Triggers, conditions and actions are told apart by their `type`. Times are local "
        "times with hours and minutes. States are compared as text, so a lamp is 'on' and not "
        "true. An automation without conditions always runs. Choose a short alias that says what "
        "it does, because it is what people see in the list of automations.",
        obj(
            "alias trigger actions",
            alias=string(minLength=3, maxLength=50),
            trigger=one_of(ref("time"), ref("state"), ref("sun")),
            conditions=array(ref("state"), default=[]),
            actions=array(
                any_of(
                    obj("service", service=string(), target=ENTITY, data=mapping(True)),
                    obj("delay", delay=form("duration", "e.g. PT5M")),
                ),
                minItems=1,
                maxItems=6,
            ),
            mode=enum("single", "restart", "queued", "parallel", default="single"),
        )
        | defs(
            time=obj("type at", type=const("time"), at=pattern(CLOCK)),
            state=obj("type entity to", type=const("state"), entity=ENTITY, to=string()),
            sun=obj(
                "type event",
                type=const("sun"),
                event=enum("sunrise", "sunset"),
                offset_minutes=integer(minimum=-120, maximum=120),
            ),
        ),
        "Every day half an hour before sunset, turn on light.porch.",
    ),
    tool(
        "sprinkler_program",
        "Water the garden.",
        "Water zone 1 for ten minutes and zone 3 for twenty, unless it rains.",
        "zones",
        zones={
            "type": "object",
            "patternProperties": {"^zone_[1-8]$": integer("Minutes", minimum=1, maximum=60)},
            "minProperties": 1,
        }
        | CLOSED,
        skip_if_rain=boolean(default=True),
    ),
    Function(
        "media_player_volume",
        "Set how loud a speaker is.",
        obj("level", level=number(minimum=0, maximum=1), speaker=enum("kitchen", "bath", "den")),
        "Play more quietly in the kitchen, a quarter of the full volume.",
    ),
    Function(
        "announce",
        "Say something aloud on all speakers.",
        obj("message", message=string("What is said", minLength=1, maxLength=100)),
        "Tell everybody that dinner is ready.",
    ),
    Function(
        "camera_snapshot",
        "Take a picture with a camera.",
        obj("camera", camera={"enum": ["porch", "garden", "garage", 1, 2]}, flash={"const": True}),
        "Show me who is at the porch.",
    ),
    Function(
        "energy_report",
        "Use of energy by device or room in a period.",
        pydantic(
            "EnergyReport",
            obj(
                "period",
                period=ref("Period"),
                group_by=ref("GroupBy") | {"default": "device"},
                include_solar=boolean(default=True),
            )
            | defs(
                Period=obj("start end", start=form("date"), end=form("date")),
                GroupBy=enum("device", "room", "hour"),
            ),
        ),
        "How much power did each room use in October 2026?",
    ),
    Function(
        "ev_charging",
        "Charge the car, to a level or until a time.",
        obj("amps", amps=integer(minimum=6, maximum=32, multipleOf=2))
        | any_of(
            obj("level", level=integer("Percent", minimum=20, maximum=100, multipleOf=5)),
            obj("ready_by", ready_by=pattern(CLOCK)),
        ),
        "Charge the car with 16 amps so that it is ready at 6:30.",
    ),
]


# Calendar.

WHEN = any_of(
    obj("date", date=form("date")),
    obj("dateTime", dateTime=form("date-time"), timeZone=string("e.g. Europe/Berlin")),
)

CALENDAR = [
    Function(
        "list_calendars",
        "List the calendars of the user.",
        obj() | CLOSED,
        "Which calendars do I have?",
    ),
    tool(
        "create_event",
        "Create an event in the calendar.",
        "Lunch with bob@example.com on 3 March 2026 from 12:00 to 13:00 UTC.",
        "summary start end",
        summary=string("Title of the event"),
        start=WHEN,
        end=WHEN,
        attendees=array(obj("email", email=form("email"), optional=boolean())),
        reminders=array(integer("Minutes before", enum=[5, 10, 15, 30, 60]), maxItems=3),
    ),
    Function(
        "find_free_slots",
        "Find times when everybody is free.",
        model(
            "FindFreeSlots",
            "attendees duration_minutes",
            attendees=array(form("email"), minItems=1),
            duration_minutes=integer(exclusiveMinimum=0, maximum=480, multipleOf=15),
            earliest=optional(form("date-time")),
            latest=optional(form("date-time")),
            working_hours_only=boolean(default=True),
        ),
        "When can kim@example.com and lee@example.com meet for 45 minutes?",
    ),
    tool(
        "calendar-events-recurring",
        "Create an event that repeats.",
        "Stand-up every Monday and Thursday at 9, ten times, starting 2026-05-04.",
        "title starts recurrence",
        title=string(),
        starts=form("date-time"),
        recurrence=obj(
            "freq",
            freq=enum("DAILY", "WEEKLY", "MONTHLY", "YEARLY"),
            interval=integer(minimum=1, maximum=99, default=1),
            byday=array(enum("MO", "TU", "WE", "TH", "FR"), uniqueItems=True),
            ends=one_of(
                obj("count", count=integer(minimum=1, maximum=365)) | CLOSED,
                obj("until", until=form("date")) | CLOSED,
                {"type": "null"},
            ),
        ),
    ),
    Function(
        "reschedule_event",
        "Move an event by a number of minutes.",
        strict(
            event_id=form("uuid"),
            shift_minutes=integer("Negative to move it to an earlier time"),
            notify_guests=boolean(),
        ),
        "Move 3f2b8c1e-4a5d-4e6f-8a9b-0c1d2e3f4a5b to half an hour earlier, tell nobody.",
    ),
    Function(
        "delete_calendar_event",
        "Delete an event.",
        obj("eventId", eventId=string(pattern="^[a-v0-9]{5,40}$")),
        "Delete the event with id 7k2v9sdq0tbh.",
    ),
    Function(
        "get_agenda",
        "Events of a day.",
        obj(day=any_of(form("date"), enum("today", "tomorrow", "yesterday")) | about("Which day")),
        "What is on my agenda tomorrow?",
    ),
    Function(
        "set_out_of_office",
        "Say that somebody is away.",
        zod(
            "from to",
            **{"from": pattern(DATE), "to": pattern(DATE)},
            message=string(maxLength=100),
            decline_meetings=boolean(),
            deputy=obj("name", name=string(), email=form("email")),
        ),
        "I am away from 2026-08-03 to 2026-08-14; Mia stands in for me.",
    ),
    tool(
        "respond_to_invitation",
        "Answer an invitation.",
        "Accept invitation 8812.",
        "invitation_id response",
        invitation_id=integer(minimum=1),
        response=enum("accepted", "tentative", "declined"),
        comment=nullable(string()),
    ),
]


# Mail.

MAIL = [
    Function(
        "send_email",
        "Send an email.",
        strict(
            to=string("The recipient email address."),
            subject=string("Email subject line."),
            body=string("Body of the email message."),
        ),
        "Write to ilan@example.com and katia@example.com saying hi.",
    ),
    tool(
        "gmail_send",
        "Send a message with attachments.",
        "Send the report.pdf to boss@example.com with high priority.",
        "to subject",
        to=array(form("email"), minItems=1, maxItems=50),
        cc=array(form("email")),
        bcc=array(form("email")),
        subject=string(maxLength=78),
        body=obj(text=string(), html=string()) | {"minProperties": 1},
        attachments=rows(
            0,
            None,
            "filename mime_type",
            filename=string(maxLength=80),
            mime_type=pattern(r"^[a-z]+/[a-z0-9.+-]+$"),
            inline=boolean(default=False),
        ),
        priority=enum(1, 3, 5, default=3),
    ),
    tool(
        "search_emails",
        "Search the mailbox.",
        "Find the unread mails from Ann about the invoice since 2026-02-01.",
        query=string("Words, or operators as in from:ann subject:invoice has:attachment"),
        folder=enum("inbox", "sent", "drafts", "archive", "trash"),
        after=form("date"),
        before=form("date"),
        is_unread=boolean(),
        max_results=integer(minimum=1, maximum=500, default=10),
    ),
    Function(
        "read_email",
        "Read one message.",
        obj("message_id", message_id=string(), format=enum("minimal", "full", "raw", "metadata")),
        "Open the message 18c2f9a4d3.",
    ),
    Function(
        "create_mail_filter",
        "Sort incoming mail by rules.",
        obj(
            "criteria action",
            criteria=ref("criteria"),
            action=one_of(
                obj("moveTo", moveTo=string()) | CLOSED,
                obj("forwardTo", forwardTo=form("email")) | CLOSED,
                obj("delete", delete=const(1)) | CLOSED,
            ),
        )
        | defs(
            criteria=obj(
                **{"from": string(), "to": string()},
                subject=string(),
                any=array(ref("criteria"), minItems=2),
                negated=boolean(),
            )
            | {"minProperties": 1}
            | CLOSED
        ),
        "Move everything from news@example.com to the folder Reading.",
    ),
    Function(
        "label-messages",
        "Add and remove labels of messages.",
        obj(
            "ids",
            ids=array(pattern("^[0-9a-f]{16}$"), minItems=1, maxItems=100),
            addLabels=array(string(maxLength=30)),
            removeLabels=array(string(maxLength=30)),
        )
        | CLOSED,
        "Label message 18c2f9a4d3e0b7f1 as urgent.",
    ),
    Function(
        "unsubscribe",
        "Leave a mailing list.",
        obj("list-id", **{"list-id": string("The header List-Id"), "one-click": boolean()}),
        "Get me off the list announce.example.org.",
    ),
]


# Tasks, notes, contacts, reminders, timers.

PERSONAL = [
    tool(
        "set_timer",
        "Start a timer.",
        "Set a timer for 12 minutes for the pasta.",
        hours=integer(minimum=0, maximum=23),
        minutes=integer(minimum=0, maximum=59),
        seconds=integer(minimum=0, maximum=59),
        name=string("What the timer is for"),
    ),
    tool(
        "HassIncreaseTimer",
        "Adds more time to a timer",
        "Add five minutes to the pizza timer.",
        name=string(),
        start_seconds=integer(minimum=1),
        minutes=integer(minimum=0),
        conversation_command={"type": ["string", "null"], "default": None},
    ),
    Function(
        "cancel_all_timers",
        "Cancels all timers",
        model("CancelAllTimers") | about("No arguments."),
        "Stop all timers.",
    ),
    tool(
        "set_alarm",
        "Set an alarm clock.",
        "Wake me at 6:45 on Mondays and Fridays.",
        "time",
        time=pattern(CLOCK, "Hours and minutes"),
        repeat=array(enum(0, 1, 2, 3, 4, 5, 6), "0 is Sunday", maxItems=7),
        snooze=obj(minutes=enum(5, 9, 10), times=integer(minimum=0, maximum=5)),
    ),
    Function(
        "create_reminder",
        "Remind the user at a time or at a place.",
        zod4(
            "text trigger",
            text=string(minLength=1),
            trigger=one_of(
                obj("kind at", kind=const("time"), at=form("date-time")),
                obj(
                    "kind place on",
                    kind=const("place"),
                    place=string(),
                    on=enum("arrive", "leave"),
                    radius_m=number(minimum=50, maximum=5000),
                ),
            ),
        ),
        "Remind me to buy stamps when I leave the office.",
    ),
    Function("get_reminders", "List reminders.", obj(due=enum("today", "week", "all")), "Any due?"),
    Function(
        "add_task",
        "Add a task to the to-do list.",
        pydantic(
            "Task",
            obj(
                "title",
                title=string(),
                due=optional(form("date")),
                priority=ref("Priority") | {"default": 2},
                tags=array(string(), default=[]),
                subtasks=array(ref("Task"), default=[]),
            )
            | defs(
                Priority=enum(1, 2, 3, 4),
                Task=obj("title", title=string(), done=boolean(default=False)),
            ),
        ),
        "Add: prepare the move by 2026-09-30, with packing and cleaning as steps.",
    ),
    Function(
        "complete_tasks",
        "Mark tasks as done.",
        obj("task_ids", task_ids=array(integer(minimum=1), minItems=1, maxItems=20)),
        "Tasks 4, 8 and 15 are done.",
    ),
    Function(
        "todo_write",
        "Write the list of steps of the current work, all of them, whenever one changes.",
        zod(
            "todos",
            todos=array(
                obj(
                    "content status id",
                    content=string(minLength=1),
                    status=enum("pending", "in_progress", "completed"),
                    priority=enum("high", "medium", "low"),
                    id=string(),
                ),
                "The updated list",
            ),
        ),
        "Plan the work: write tests, mend the bug, update the changelog.",
    ),
    Function(
        "query_tasks",
        "Find tasks by a filter of nested AND, OR and comparisons.",
        obj("where", where=ref("filter"), limit=integer(default=50, maximum=1000, minimum=1))
        | defs(
            filter=one_of(
                obj("and", **{"and": array(ref("filter"), minItems=1, maxItems=4)}) | CLOSED,
                obj("or", **{"or": array(ref("filter"), minItems=1, maxItems=4)}) | CLOSED,
                ref("comparison"),
            ),
            comparison=obj(
                "field op value",
                field=enum("title", "due", "priority", "done"),
                op=enum("eq", "ne", "lt", "gt", "contains"),
                value={"type": ["string", "number", "boolean"]},
            )
            | CLOSED,
        ),
        "Which tasks are not done and either due before 2026-03-01 or of priority 1?",
    ),
    tool(
        "create_note",
        "Save a note.",
        "Note down: the spare key is in the blue box.",
        "content",
        title=string(maxLength=80),
        content=string("Markdown"),
        notebook=string(default="Inbox", examples=["Inbox", "Work", "Ideas"]),
        pinned=boolean(),
    ),
    Function(
        "search_notes",
        "Search notes by meaning.",
        obj("query", query=string(), k=integer(default=4), min_score=number(minimum=0, maximum=1)),
        "Where did I write about the spare key?",
    ),
    Function(
        "append_to_note",
        "Append lines to a note.",
        obj("note lines", note=string(), lines=array(string(maxLength=100), minItems=1)),
        "Add 'call the plumber' to my house note.",
    ),
    tool(
        "memory.create_entities",
        "Create several new entities in the knowledge graph",
        "Remember that Tom is a colleague who likes tea.",
        "entities",
        entities=rows(
            0,
            None,
            "name entityType observations",
            name=string("The name of the entity"),
            entityType=string("The type of the entity"),
            observations=strings("What is known of the entity"),
        ),
    ),
    tool(
        "add_contact",
        "Add somebody to the address book.",
        "Save Eva Lund, mobile +46 70 123 45 67.",
        "name",
        name=obj("given", given=string(), family=string(), middle=string()) | CLOSED,
        phones=rows(
            0, None, "number", number=pattern(r"^\+?[0-9 ()-]{5,20}$"), type=enum("home", "mobile")
        ),
        emails=array(form("email"), maxItems=5),
        birthday={"type": "string", "pattern": r"^(\d{4}|-)-\d{2}-\d{2}$"},
        address=obj(street=string(), city=string(), zip=string(), country=string()),
    ),
    Function(
        "find_contact",
        "Look somebody up by exactly one of the criteria.",
        one_of(
            obj("name", name=string()) | CLOSED,
            obj("phone", phone=string()) | CLOSED,
            obj("email", email=string()) | CLOSED,
        ),
        "Who has the number 555-0199?",
    ),
    Function(
        "log_habit",
        "Log that a habit was kept.",
        mapping(boolean(), "Names of habits and whether they were kept", minProperties=1),
        "I read and went running today but did not meditate.",
    ),
]


# Maps, routes, travel.

POINT = obj("lat lng", lat=LATITUDE, lng=LONGITUDE) | CLOSED
PLACE = any_of(string("An address"), POINT)
IATA = pattern("^[A-Z]{3}$", "IATA code of the airport")
PASSENGERS = obj(
    "adults",
    adults=integer(minimum=1, maximum=9),
    children=integer(minimum=0, maximum=8),
    infants=integer(minimum=0, maximum=2),
)

TRAVEL = [
    Function(
        "maps_geocode",
        "Convert an address into geographic coordinates",
        obj("address", address=string("The address to geocode")),
        "Where is 10 Downing Street?",
    ),
    Function(
        "maps_reverse_geocode",
        "Convert coordinates into an address",
        obj("latitude longitude", latitude=number("Latitude"), longitude=number("Longitude")),
        "What is at 52.5163, 13.3777?",
    ),
    tool(
        "maps_directions",
        "Get directions between two points",
        "How do I cycle from Utrecht to Amsterdam without ferries?",
        "origin destination",
        origin=PLACE,
        destination=PLACE,
        mode=enum("driving", "walking", "bicycling", "transit"),
        waypoints=array(PLACE, maxItems=8),
        avoid=array(enum("tolls", "highways", "ferries"), uniqueItems=True),
        departure=any_of(const("now"), form("date-time")),
    ),
    tool(
        "search_nearby",
        "Places of a kind around a point.",
        "A pharmacy that is open within two kilometres of 48.2, 16.37?",
        "center category",
        center=POINT,
        category=enum("restaurant", "pharmacy", "atm", "fuel", "hotel", "parking"),
        radius=integer("Metres", minimum=100, maximum=50000),
        open_now=boolean(),
        min_rating=number(minimum=1.0, maximum=5.0, multipleOf=0.5),
    ),
    Function(
        "geofence.create",
        "Watch an area.",
        obj(
            "geometry",
            name=string(maxLength=30),
            geometry=one_of(
                obj("type coordinates", type=const("Point"), coordinates=ref("position")),
                obj(
                    "type coordinates",
                    type=const("Polygon"),
                    coordinates=array(array(ref("position"), minItems=4, maxItems=20), minItems=1),
                ),
            ),
        )
        | defs(
            position={
                "type": "array",
                "prefixItems": [LONGITUDE, LATITUDE],
                "items": False,
                "minItems": 2,
            }
        ),
        "Watch the point 13.4 east, 52.5 north.",
    ),
    tool(
        "search_flights",
        "Find flights.",
        "Two adults from Vienna to Tokyo on 2026-10-04, at most one stop.",
        "origin destination departure_date",
        origin=IATA,
        destination=IATA,
        departure_date=form("date"),
        return_date=nullable(form("date")),
        passengers=PASSENGERS,
        cabin=enum("economy", "premium_economy", "business", "first", default="economy"),
        max_stops=enum(0, 1, 2),
    ),
    Function(
        "book_flight",
        "Book a flight that was found before.",
        pydantic(
            "BookFlight",
            obj(
                "offer_id travellers",
                offer_id=form("uuid"),
                travellers=array(ref("Traveller"), minItems=1, maxItems=9),
                payment={
                    "discriminator": {
                        "mapping": {"card": "#/$defs/Card", "invoice": "#/$defs/Invoice"},
                        "propertyName": "method",
                    },
                    "oneOf": [ref("Card"), ref("Invoice")],
                },
            )
            | defs(
                Traveller=obj(
                    "first_name last_name born",
                    first_name=string(minLength=1, maxLength=50),
                    last_name=string(minLength=1, maxLength=50),
                    born=form("date"),
                    passport=optional(ref("Passport")),
                ),
                Passport=obj("number country", number=pattern("^[A-Z0-9]{6,9}$"), country=string()),
                Card=obj("method token", method=const("card"), token=string()),
                Invoice=obj("method company", method=const("invoice"), company=string()),
            ),
        ),
        "Book offer 0b6e2f5a-1c3d-4e5f-9a8b-7c6d5e4f3a2b for Ann Lee, born 1990-04-12, by invoice.",
    ),
    tool(
        "train_connections",
        "Connections by train.",
        "Um 9:15 von Freiburg nach Kassel über Mannheim, mit BahnCard 50.",
        "von nach",
        von=string("Abfahrtsbahnhof"),
        nach=string("Zielbahnhof"),
        über=string("Zwischenhalt"),
        ermäßigung=enum("keine", "BC25", "BC50"),
        uhrzeit=pattern(CLOCK),
    ),
    Function(
        "rent_car",
        "Rent a car.",
        all_of(
            obj("pickup days", pickup=IATA, days=integer(minimum=1, maximum=60)),
            obj("class", **{"class": enum("mini", "compact", "estate", "van")}),
            any_of(obj("automatic", automatic=boolean()), obj("any_gearbox", any_gearbox=const(1))),
        )
        | {"type": "object"},
        "An automatic estate car at Munich airport, MUC, for a week.",
    ),
    Function(
        "flight_status",
        "Where a flight is.",
        obj("flight", flight=pattern("^[A-Z0-9]{2} ?[0-9]{1,4}$"), date=pattern(DATE)),
        "Is LH 1234 late?",
    ),
    Function(
        "plan_trip",
        "Make a plan for a journey, day by day.",
        strict(
            title=string(),
            days=rows(
                0,
                None,
                "",
                date=nullable(string()),
                stops=rows(
                    0,
                    None,
                    "",
                    place=string(),
                    arrive=nullable(string()),
                    stay=obj(hours=number(), overnight=boolean()),
                ),
            ),
        ),
        "Plan a weekend in Porto with a museum and a wine cellar.",
    ),
    tool(
        "get_visa_rules",
        "Who needs a visa.",
        "Do I need a visa for 20 days in VNM with a Canadian passport?",
        "passport to",
        passport=enum("AT", "BR", "CA", "CN", "DE", "IN", "JP", "US"),
        to=pattern("^[A-Z]{3}$", "ISO 3166-1 alpha-3"),
        days=integer(minimum=1, maximum=365),
        purpose=enum("tourism", "business", "transit", "study"),
    ),
    tool(
        "parking.start",
        "Pay for a parking space.",
        "Park FR-AB 123 in zone 4021.",
        "plate zone",
        plate=pattern("^[A-ZÄÖÜ]{1,3}-[A-Z]{1,2} [0-9]{1,4}$"),
        zone=integer(minimum=1000, maximum=9999),
        until=form("time"),
    ),
]


# Shops and orders.

ADDRESS = obj(
    "street city postal_code country",
    street=string(maxLength=80),
    city=string(maxLength=50),
    postal_code=pattern("^[0-9A-Z -]{3,10}$"),
    country=pattern("^[A-Z]{2}$"),
)
SKU = pattern("^[A-Z]{3}-[0-9]{4}(-[A-Z]{1,2})?$", "e.g. TSH-0042-XL")

SHOP = [
    Function(
        "create_order",
        "Create an order.",
        obj(
            "customer items shipping",
            customer=obj("email", email=form("email"), name=string(), phone=string()),
            items=rows(
                1,
                20,
                "sku quantity",
                sku=SKU,
                quantity=integer(minimum=1, maximum=99),
                options=mapping(string()),
            ),
            shipping=obj(
                "address",
                address=ref("address"),
                method=enum("standard", "express", "pickup"),
                gift=obj("wrap", wrap=boolean(), message=string(maxLength=100)),
            ),
            billing_address=ref("address"),
        )
        | defs(address=ADDRESS),
        "Order two TSH-0042-XL to Hauptstr. 5, 79098 Freiburg, DE for jo@example.com.",
    ),
    Function(
        "track_order",
        "Where an order is.",
        obj("order_id", order_id=string("The order, like ORD-2026-00017")),
        "Where is my order ORD-2026-00017?",
    ),
    Function(
        "get_delivery_date",
        "Get the delivery date for a customer's order.",
        strict(order_id=string("The customer's order ID.")),
        "When will order 10023 arrive?",
    ),
    tool(
        "cancel_order",
        "Cancel an order, or some of its lines.",
        "Cancel the second line of order 10023, I ordered it by mistake.",
        "orderId",
        orderId=integer(minimum=10000, maximum=99999),
        lines=nullable(array(integer(minimum=1), minItems=1)),
        reason=enum("changed_mind", "too_slow", "found_cheaper", "mistake"),
    ),
    tool(
        "search_products",
        "Find products.",
        "Red running shoes in M under 80 euros, cheapest first.",
        "query",
        query=string(),
        filters=obj(
            brand=array(string(), maxItems=5),
            price=obj(gte=number(minimum=0), lte=number(minimum=0)) | CLOSED,
            size=array(enum("XS", "S", "M", "L", "XL"), uniqueItems=True),
            in_stock=boolean(),
            rating=enum(1, 2, 3, 4, 5),
        )
        | CLOSED,
        sort=enum("relevance", "price_asc", "price_desc", "newest"),
        page=integer(minimum=1, default=1),
    ),
    Function(
        "cart.add",
        "Put something into the cart.",
        obj("sku", sku=SKU, qty=integer(minimum=1, maximum=10, default=1)) | CLOSED,
        "Put three CUP-0007 into my cart.",
    ),
    Function(
        "apply_coupon",
        "Use a coupon.",
        obj("code", code=pattern("^[A-Z0-9]{4,12}$")),
        "Use the coupon SPRING20.",
    ),
    Function(
        "rate_product",
        "Rate a product.",
        obj("sku stars", sku=SKU, stars=integer(minimum=1, maximum=5), text=string()),
        "Five stars for CUP-0007, it is lovely.",
    ),
    Function(
        "shipping_quote",
        "Price of a parcel.",
        obj(
            "parcel destination",
            parcel=all_of(ref("size"), obj("weight_kg", weight_kg=number(exclusiveMinimum=0))),
            destination=pattern("^[A-Z]{2}$"),
        )
        | defs(
            size=obj(
                "length_cm width_cm",
                length_cm=integer(minimum=1, maximum=200),
                width_cm=integer(minimum=1, maximum=80),
                height_cm=integer(minimum=1, maximum=60),
            )
        ),
        "What does a parcel of 40 by 30 cm with 2.5 kg to France cost?",
    ),
]


# Music and media.

MEDIA = [
    tool(
        "play_music",
        "Play music.",
        "Play some jazz by Miles Davis in any order.",
        "query",
        query=string("Artist, album, song or playlist"),
        kind=enum("artist", "album", "track", "playlist", "radio"),
        shuffle=boolean(default=False),
    ),
    Function(
        "playback_control",
        "Pause, go on, skip.",
        obj("command", command=enum("play", "pause", "next", "previous", "stop")) | CLOSED,
        "Skip this song.",
    ),
    tool(
        "seek",
        "Go to a position of the song.",
        "Go to 2:30.",
        "position",
        position=any_of(number(minimum=0), pattern(r"^(\d{1,2}:)?[0-5]?\d:[0-5]\d$")),
    ),
    tool(
        "create_playlist",
        "Create a playlist.",
        "Make a private playlist called Sunday with track:4uLU6hMCjMI75M1A2tKUQC.",
        "name tracks",
        name=string(minLength=1, maxLength=100),
        public=boolean(default=False),
        tracks=array(pattern("^track:[A-Za-z0-9]{22}$"), maxItems=100, uniqueItems=True),
    ),
    Function(
        "recommend_songs",
        "Songs like others.",
        zod4(
            "seeds",
            seeds=array(
                one_of(
                    obj("type id", type=const("artist"), id=string()),
                    obj("type name", type=const("genre"), name=enum("rock", "folk", "soul")),
                ),
                minItems=1,
                maxItems=5,
            ),
            target=obj(
                energy=number(minimum=0, maximum=1),
                valence=number(minimum=0, maximum=1),
                tempo=number(minimum=40, maximum=220),
            ),
            limit=integer(minimum=1, maximum=100),
        ),
        "Something slow like folk, about 80 beats a minute.",
    ),
    tool(
        "search_movies",
        "Find films.",
        "A comedy from 1959 with Marilyn Monroe.",
        title=string(),
        year=integer(minimum=1888, maximum=2100),
        genres=array(enum("drama", "comedy", "crime", "horror"), maxItems=2),
        **{"runtime.max": integer(minimum=1), "cast[]": array(string(), maxItems=3)},
    ),
    Function(
        "equalizer",
        "Set the sound.",
        obj("bands", bands=array(number(minimum=-12, maximum=12), minItems=5, maxItems=5)),
        "More bass please.",
    ),
    tool(
        "record_show",
        "Record a programme.",
        "Record channel 4 on 2026-04-01 at 20:15 UTC for an hour and a half.",
        "channel start minutes",
        channel={"type": ["integer", "string"], "minimum": 1, "minLength": 2},
        start=form("date-time"),
        minutes=integer(minimum=5, maximum=360, multipleOf=5),
    ),
]


# Health, sports, food.

HEALTH = [
    Function(
        "log_weight",
        "Log the weight of the user.",
        obj("kg", kg=number(minimum=20, maximum=300, multipleOf=0.5), at=form("date-time")),
        "I weigh 71.5 kilos today.",
    ),
    tool(
        "log_meal",
        "Log what was eaten.",
        "For breakfast I had 80 g of oats and an apple.",
        "meal foods",
        meal=enum("breakfast", "lunch", "dinner", "snack"),
        foods=rows(
            1,
            None,
            "name",
            name=string(),
            grams=number(exclusiveMinimum=0, exclusiveMaximum=5000),
            nutrients=obj(
                kcal=number(minimum=0),
                protein=number(minimum=0),
                fat=obj(total=number(minimum=0), saturated=number(minimum=0)),
            ),
        ),
    ),
    Function(
        "log-blood-pressure",
        "Log a measurement of blood pressure.",
        obj(
            "systolic diastolic",
            systolic=integer("mmHg", minimum=60, maximum=260),
            diastolic=integer("mmHg", minimum=30, maximum=160),
            pulse=integer(minimum=25, maximum=240),
            arm=enum("left", "right"),
        )
        | OPEN,
        "128 over 82 with a pulse of 64, left arm.",
    ),
    tool(
        "book_doctor",
        "Make an appointment with a doctor.",
        "A dentist for Jo Roe, born 1985-05-05, on a Tuesday morning, insured with Acme.",
        "specialty patient slots",
        specialty=enum("general", "dentist", "eyes", "skin", "heart"),
        patient=obj(
            "name birth_date",
            name=string(),
            birth_date=form("date"),
            insurance=one_of(
                obj("kind number", kind=const("public"), number=pattern("^[A-Z][0-9]{9}$")),
                obj("kind company", kind=const("private"), company=string()),
                obj("kind", kind=const("none")),
            ),
        ),
        slots=array(obj("day", day=enum(*DAYS), part=enum("am", "pm")), maxItems=3),
    ),
    tool(
        "medication_schedule",
        "When to take which medicine.",
        "Ibuprofen: one pill at 8:00, half a one at 20:00, with food.",
        "medicine doses",
        medicine=string(),
        doses=array(
            {
                "type": "array",
                "description": "Time and number of pills",
                "prefixItems": [pattern(CLOCK), number(enum=[0.5, 1, 1.5, 2])],
                "items": False,
                "minItems": 2,
            },
            minItems=1,
            maxItems=6,
        ),
        with_food={"type": ["boolean", "null"]},
    ),
    Function(
        "start_workout",
        "Start to record a workout.",
        obj(
            "workout",
            workout=one_of(
                obj("sport km", sport=enum("run", "ride", "swim"), km=number(minimum=0.1)),
                obj("sport sets", sport=const("lift"), sets=array(ref("set"), minItems=1)),
            ),
        )
        | defs(set=obj("reps", reps=integer(minimum=1, maximum=100), kg=number(minimum=0))),
        "I start a run of ten kilometres.",
    ),
    Function(
        "get_sleep", "How somebody slept.", obj(nights=integer(default=7)), "How did I sleep?"
    ),
    Function(
        "search_recipes",
        "Find recipes.",
        obj(
            ingredients=array(string(maxLength=30), maxItems=10),
            diet=array(enum("vegan", "vegetarian", "halal", "kosher", "gluten_free")),
            max_minutes=integer(minimum=5, maximum=240, multipleOf=5),
            cuisine=any_of(enum("italian", "indian", "thai"), {"type": "null"}),
        )
        | {"minProperties": 1},
        "Something vegan with chickpeas in half an hour.",
    ),
    tool(
        "save_recipe",
        "Save a recipe.",
        "Save pancakes for two: 200 g of flour, 3 eggs, some milk; mix it and fry it.",
        "name ingredients steps",
        name=string(minLength=2, maxLength=80),
        servings=integer(minimum=1, maximum=50),
        ingredients=array(
            one_of(
                string(maxLength=40),
                obj("name amount", name=string(), amount=number(), unit=string()) | CLOSED,
            ),
            minItems=1,
        ),
        steps=array(string(minLength=5), minItems=1, maxItems=30),
        nutrition=mapping(number(minimum=0)),
    ),
    Function(
        "scale_recipe",
        "Amounts for another number of people.",
        zod("recipe_id factor", recipe_id=integer(), factor=number(exclusiveMinimum=0)),
        "Half of recipe 12.",
    ),
    tool(
        "get_scores",
        "Results of matches.",
        "How did the NBA games end?",
        "league",
        league=enum("nba", "nfl", "mlb", "nhl", "epl"),
        season=enum(2024, 2025, 2026),
    ),
    Function(
        "get_standings",
        "The table of a league.",
        obj("league_id season", league_id=integer(), season=pattern(r"^20\d\d/\d\d$")),
        "Who leads league 39 in 2025/26?",
    ),
]
