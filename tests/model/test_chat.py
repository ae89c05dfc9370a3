"""Chat completions from the real model through the real openai SDK."""

from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from .clients import asking, going_on, long_prompt, read_stream, stream
from .servers import MODEL, Server
from .waiting import BOUND_S

FRANCE = "What is the capital of France?"
COUNTING = going_on("Count from 301 to 400.", "301, 302, 303, 304,", max_tokens=40)
ROCKETS = going_on("Repeat: 🚀🚀🚀🚀🚀🚀", "🚀🚀🚀", ignore_eos=True)
HOT: dict[str, Any] = {"temperature": 1.5, "extra_body": {"ignore_eos": True}}


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[openai.OpenAI]:
    http = openai.DefaultHttpxClient(trust_env=False)
    with openai.OpenAI(
        base_url=f"{server.url}/v1",
        api_key="none",
        max_retries=0,
        timeout=BOUND_S,
        http_client=http,
    ) as client:
        yield client


def ask(client: openai.OpenAI, text: str, **more: Any) -> ChatCompletion:
    messages: Any = [{"role": "user", "content": text}]
    return client.chat.completions.create(model=MODEL, messages=messages, **more)


def answer(client: openai.OpenAI, text: str, **more: Any) -> str:
    return ask(client, text, **more).choices[0].message.content or ""


def ask_streamed(client: openai.OpenAI, text: str, **more: Any) -> list[ChatCompletionChunk]:
    messages: Any = [{"role": "user", "content": text}]
    with client.chat.completions.create(
        model=MODEL,
        messages=messages,
        stream=True,
        stream_options={"include_usage": True},
        **more,
    ) as chunks:
        return list(chunks)


def whole_text(server: Server, body: dict[str, Any]) -> str:
    response = server.post(body)
    assert response.status_code == 200, response.text
    return response.json()["choices"][0]["message"]["content"]


def test_the_capital_of_france(client: openai.OpenAI) -> None:
    done = ask(client, FRANCE, temperature=0)
    assert "Paris" in (done.choices[0].message.content or "")
    assert done.choices[0].message.role == "assistant"
    assert done.choices[0].finish_reason == "stop"
    assert done.model == MODEL
    assert done.usage is not None
    assert done.usage.total_tokens == done.usage.prompt_tokens + done.usage.completion_tokens


def test_the_capital_of_france_streamed(client: openai.OpenAI) -> None:
    first, *rest = ask_streamed(client, FRANCE, temperature=0)
    assert first.choices[0].delta.role == "assistant"
    assert first.choices[0].delta.content == ""
    *texts, finish, last = rest
    assert "Paris" in "".join(c.choices[0].delta.content or "" for c in texts)
    assert len([c for c in texts if c.choices[0].delta.content]) > 3
    assert finish.choices[0].finish_reason == "stop"
    assert last.choices == []
    assert last.usage is not None
    assert last.usage.completion_tokens >= len(texts)
    assert {c.id for c in rest} == {first.id}


def test_max_tokens_end_an_answer(client: openai.OpenAI) -> None:
    for name in ("max_tokens", "max_completion_tokens"):
        done = ask(client, "Tell me a story.", **{name: 5})
        assert done.choices[0].finish_reason == "length"
        assert done.usage is not None
        assert done.usage.completion_tokens == 5


def test_min_tokens_and_ignore_eos_keep_an_answer_going(client: openai.OpenAI) -> None:
    short = ask(client, FRANCE, temperature=0).usage
    most = {"max_tokens": 40, "temperature": 0}
    longer = ask(client, FRANCE, **most, extra_body={"min_tokens": 30}).usage
    endless = ask(client, FRANCE, **most, extra_body={"ignore_eos": True})
    assert short is not None
    assert longer is not None
    assert endless.usage is not None
    assert short.completion_tokens < 30 <= longer.completion_tokens
    assert endless.usage.completion_tokens == 40
    assert endless.choices[0].finish_reason == "length"


def test_n_answers_are_independent(client: openai.OpenAI) -> None:
    done = ask(client, "Write a poem.", n=2, max_tokens=20, **HOT)
    first, second = done.choices
    assert (first.index, second.index) == (0, 1)
    assert first.message.content != second.message.content
    assert done.usage is not None
    assert done.usage.completion_tokens == 40


def test_n_answers_streamed_have_each_a_role_and_an_end(client: openai.OpenAI) -> None:
    chunks = ask_streamed(client, "Write a poem.", n=3, max_tokens=12, **HOT)
    choices = [choice for chunk in chunks for choice in chunk.choices]
    for index in range(3):
        own = [choice for choice in choices if choice.index == index]
        assert own[0].delta.role == "assistant"
        assert [c.finish_reason for c in own if c.finish_reason] == ["length"]
        assert any(c.delta.content for c in own)


def test_logprobs_are_of_the_tokens_of_the_text(client: openai.OpenAI) -> None:
    done = ask(client, FRANCE, temperature=0, logprobs=True)
    choice = done.choices[0]
    assert choice.logprobs is not None
    tokens = choice.logprobs.content or []
    assert "".join(t.token for t in tokens) == choice.message.content
    assert b"".join(bytes(t.bytes or []) for t in tokens).decode() == choice.message.content
    assert all(t.logprob <= 0 for t in tokens)
    assert min(t.logprob for t in tokens) < 0
    assert done.usage is not None
    assert done.usage.completion_tokens - len(tokens) in (0, 1)  # the end of the answer is silent


def test_logprobs_streamed_join_to_the_text(server: Server) -> None:
    streamed = read_stream(server, {**COUNTING, "logprobs": True, "ignore_eos": True})
    streamed.check(max_tokens=40)
    assert len(streamed.tokens) == 40


@pytest.mark.parametrize("tokens", range(1, 5))
def test_tokens_of_half_a_character_have_their_logprobs(server: Server, tokens: int) -> None:
    body = {**ROCKETS, "max_tokens": tokens, "logprobs": True}
    logprobs = server.post(body).json()["choices"][0]["logprobs"]
    assert logprobs is not None
    assert len(logprobs["content"]) == tokens


def test_a_seed_repeats_an_answer_and_another_seed_does_not(client: openai.OpenAI) -> None:
    first, again, other = (
        answer(client, "Write a poem.", seed=seed, max_tokens=24, **HOT) for seed in (7, 7, 8)
    )
    assert first == again
    assert first != other


def test_without_a_seed_two_answers_differ(client: openai.OpenAI) -> None:
    first, again = (answer(client, "Write a poem.", max_tokens=24, **HOT) for _ in range(2))
    assert first != again


@pytest.mark.parametrize(
    ("stop", "left"),
    [
        (" 311", " 305, 306, 307, 308, 309, 310,"),
        (["never said", "10, 311, 3"], " 305, 306, 307, 308, 309, 3"),
        (["309", "308, 309"], " 305, 306, 307, "),
    ],
)
def test_a_stop_string_ends_the_answer_and_is_never_shown(
    server: Server, stop: str | list[str], left: str
) -> None:
    body = {**COUNTING, "stop": stop}
    streamed = read_stream(server, body)
    assert streamed.text == left
    assert streamed.finish_reasons == ["stop"]
    assert streamed.usage["completion_tokens"] < 40
    whole = server.post(body).json()["choices"][0]
    assert (whole["message"]["content"], whole["finish_reason"]) == (left, "stop")


def test_text_that_only_begins_like_a_stop_string_is_shown(server: Server) -> None:
    body = {**COUNTING, "max_tokens": 12, "ignore_eos": True}
    held_back = read_stream(server, {**body, "stop": [" 305, 999", "306, 307, 999"]})
    assert held_back.text == " 305, 306, 3"
    assert held_back.finish_reasons == ["length"]


SCRIPTS = {
    "emoji": "😀🎉🧑🏽\u200d🔬",  # the last sign is four code points
    "chinese": "今天天气很好，我们去公园散步。",  # noqa: RUF001
    "arabic": "مرحبا بالعالم، كيف حالك اليوم؟ ",
}


@pytest.mark.parametrize("script", SCRIPTS)
def test_characters_that_span_tokens_come_whole(server: Server, script: str) -> None:
    text = SCRIPTS[script]
    body = going_on(f"Repeat this: {text * 4}", (text * 2).strip(), max_tokens=90, ignore_eos=True)
    streamed = read_stream(server, {**body, "logprobs": True})
    streamed.check(max_tokens=90)
    assert text[:2] in streamed.text
    assert all("\N{REPLACEMENT CHARACTER}" not in delta for delta in streamed.deltas)
    assert len(streamed.deltas) < 90, "no character spans tokens, so this test tests nothing"
    whole = whole_text(server, body)
    assert "\N{REPLACEMENT CHARACTER}" not in whole
    assert text[:2] in whole


@pytest.mark.parametrize("tokens", range(1, 9))
def test_an_answer_cut_inside_a_character_ends_before_it(server: Server, tokens: int) -> None:
    streamed = read_stream(server, {**ROCKETS, "max_tokens": tokens})
    assert set(streamed.text) <= {"🚀"}
    assert streamed.usage["completion_tokens"] == tokens


def test_chat_template_kwargs_are_taken(server: Server) -> None:
    body = asking(FRANCE, temperature=0, chat_template_kwargs={"enable_thinking": False})
    assert "Paris" in whole_text(server, body)


def test_the_final_message_is_continued(server: Server) -> None:
    body = going_on(FRANCE, "The capital of France is")
    assert whole_text(server, body).startswith(" Paris")


def test_a_trailing_assistant_message_is_answered_as_tiny_agents_expects(server: Server) -> None:
    messages = [
        {"role": "user", "content": FRANCE},
        {"role": "assistant", "content": "The capital of France is Paris."},
    ]
    with stream(server, {"model": MODEL, "messages": messages}) as chunks:
        first = next(chunks)
    assert first is not None
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    server.wait_until_idle()


def test_every_role_and_every_form_of_content_is_accepted(server: Server) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "now", "arguments": "{}"}}
    messages = [
        {"role": "developer", "content": "Answer in one sentence."},
        {"role": "user", "content": [{"type": "text", "text": "What time is it?"}]},
        {"role": "assistant", "content": None, "tool_calls": [call], "refusal": None},
        {"role": "tool", "content": "", "tool_call_id": "call_1", "name": "now"},
        {"role": "function", "content": "noon", "name": "now"},
        {"role": "assistant", "content": "It is noon.", "reasoning_content": "easy"},
        {"role": "user", "content": FRANCE},
    ]
    response = server.post({"model": MODEL, "messages": messages, "temperature": 0})
    assert response.status_code == 200, response.text
    assert "Paris" in response.json()["choices"][0]["message"]["content"]


def test_the_system_message_reaches_the_model(server: Server) -> None:
    messages = [{"role": "user", "content": FRANCE}]
    plain = server.post({"model": MODEL, "messages": messages, "max_tokens": 1}).json()["usage"]
    system = {"role": "system", "content": " ".join(["Be kind."] * 50)}
    asked = {"model": MODEL, "messages": [system, *messages], "max_tokens": 1}
    assert server.post(asked).json()["usage"]["prompt_tokens"] > plain["prompt_tokens"] + 50


def test_a_prompt_that_is_far_too_long_is_refused_before_it_is_counted_whole(
    client: openai.OpenAI,
) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        ask(client, "a" * 10_000_000)
    assert refused.value.code == "context_length_exceeded"
    assert "tokens or more" in refused.value.message


def test_too_long_a_prompt_is_refused_in_openais_words(client: openai.OpenAI) -> None:
    for asked in (ask, ask_streamed):
        with pytest.raises(openai.BadRequestError) as refused:
            asked(client, "x " * 9000)
        assert refused.value.code == "context_length_exceeded"
        assert refused.value.param == "messages"
        assert "This model's maximum context length is 8192 tokens. However," in str(refused.value)
    assert "Paris" in answer(client, FRANCE, temperature=0)


def test_the_refusal_tells_the_true_length_of_the_prompt(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match=r"resulted in 9\d\d\d tokens"):
        ask(client, "x " * 9000)


def test_the_answer_tells_what_it_cost(server: Server) -> None:
    prompt = long_prompt(50)
    done = server.post(asking(prompt, max_tokens=8, ignore_eos=True)).json()
    timings, usage = done["timings"], done["usage"]
    assert timings["prompt_n"] == usage["prompt_tokens"]
    assert timings["predicted_n"] == usage["completion_tokens"] == 8
    assert timings["prompt_ms"] > 0
    assert timings["predicted_ms"] > 0
