"""Gives feedback with Humanloop's own Python clients of version 0.3 and later.

Usage: driver.py sync|async BASE_URL KEY WRONG_KEY PROVIDER_KEY

PROVIDER_KEY is a key of another service, which some versions send with feedback.
"""

import asyncio
import datetime
import importlib.metadata

import humanloop
from script import call, run

VERSION = tuple(int(part) for part in importlib.metadata.version("humanloop").split("."))
GIVEN = datetime.datetime(2024, 5, 5, 1, 2, 3, 4)


def connect(kind, base_url, key, provider_key):
    """The client's function that gives feedback."""
    if VERSION < (0, 4):
        humanloop.init(
            api_key=key, base_url=base_url, provider_api_keys={"OPENAI_API_KEY": provider_key}
        )
        return humanloop.feedback
    client = humanloop.Humanloop(api_key=key, host=base_url, openai_api_key=provider_key)
    return {"sync": client.feedback, "async": client.afeedback}[kind]


def several(*items):
    return [humanloop.Feedback(**item) for item in items] if VERSION < (0, 4) else list(items)


def found(answer):
    """What the client returns, or the body of it."""
    return getattr(answer, "body", answer)


async def main(kind, base_url, key, wrong_key, provider_key):
    feedback = connect(kind, base_url, key, provider_key)

    async def give(name, *args, **kwargs):
        def once():
            answer = feedback(*args, **kwargs)
            return later(answer) if asyncio.iscoroutine(answer) else found(answer)

        async def later(answer):
            return found(await answer)

        await call(name, once)

    on = {"data_id": "data_1"}
    await give("rating", type="rating", value="good", user="ada", **on)
    await give("rating_again", type="rating", value="bad", user="ada", created_at=GIVEN, **on)
    await give("rating_of_another", type="rating", value="good", user="bob", **on)
    await give("rating_of_nobody", type="rating", value="good", **on)
    await give("correction", type="correction", value="très bien", user="ada", **on)
    await give("copied", type="action", value="copy", user="ada", **on)
    await give("regenerated", type="action", value="regenerate", user="ada", **on)
    await give("regenerated_again", type="action", value="regenerate", user="ada", **on)
    await give("custom", type="mood", value="calm", user="ada", **on)
    await give("comment", type="comment", value="hasty", user="ada", **on)
    await give("unset", type="comment", unset=True, user="ada", **on)
    await give(
        "several",
        several(
            {"data_id": "data_2", "type": "rating", "value": "bad"},
            {"data_id": "data_2", "type": "correction", "value": "better"},
        ),
    )
    if VERSION >= (0, 7):
        await give("truth", type="fluent", value=True, **on)
        await give("number", type="stars", value=4.5, **on)
        await give("words", type="issues", value=["slow", "rude"], **on)
    await give("no_value", type="rating", user="ada", **on)
    await give("no_data_id", type="rating", value="good")

    feedback = connect(kind, base_url, wrong_key, provider_key)
    await give("wrong_key", type="rating", value="good", **on)


run(main)
