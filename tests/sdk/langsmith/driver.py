"""Gives feedback with LangSmith's own Python clients, a request a call.

Usage: driver.py sync|async BASE_URL KEY WRONG_KEY
"""

import datetime
import importlib.metadata
import warnings

from langsmith import AsyncClient, Client
from langsmith.schemas import FeedbackSourceType
from script import call, run, settle

VERSION = tuple(int(part) for part in importlib.metadata.version("langsmith").split("."))

RUN = "01990000-0000-7000-8000-000000000001"
TRACE = "01990000-0000-7000-8000-000000000002"
PROJECT = "01990000-0000-7000-8000-000000000003"
EXPERIMENT = "01990000-0000-7000-8000-000000000004"
GROUP = "01990000-0000-7000-8000-000000000005"
JUDGE = "01990000-0000-7000-8000-000000000006"
WHOLE = "01990000-0000-7000-8000-000000000007"
TWICE = "01990000-0000-7000-8000-000000000008"
RATED = "01990000-0000-7000-8000-000000000009"
LISTED = "01990000-0000-7000-8000-00000000000a"
CHANGED = "01990000-0000-7000-8000-00000000000b"


async def sync_client(base_url, key, wrong_key):
    client = Client(api_url=base_url, api_key=key, auto_batch_tracing=False)
    await creations(client.create_feedback)
    # What is given by URL or token below is about this run.
    await tokens(client)
    await call("tokens", client.create_presigned_feedback_tokens, RATED, ["tone", "pace"])
    await call("list_tokens", client.list_presigned_feedback_tokens, RATED)
    if VERSION >= (0, 15):
        await configs(client)
    settle()
    await readings(client)
    await call("update", client.update_feedback, CHANGED, score=0.5, comment="later")
    if VERSION >= (0, 15):
        await call("clear", client.update_feedback, TWICE, comment=None)
    settle()
    await call("read_updated", client.read_feedback, CHANGED)
    await call("delete", client.delete_feedback, CHANGED)
    settle()
    await call("read_deleted", client.read_feedback, CHANGED)
    stranger = Client(api_url=base_url, api_key=wrong_key, auto_batch_tracing=False)
    await call("wrong_key", stranger.create_feedback, RUN, "k", score=1)


async def async_client(base_url, key, wrong_key):
    client = AsyncClient(api_url=base_url, api_key=key)
    if VERSION >= (0, 15):
        await creations(client.create_feedback)
    else:
        await call("plain", client.create_feedback, RUN, "plain", score=1, comment="c")
        ids = {"id": WHOLE, "trace_id": TRACE}
        await call("whole", client.create_feedback, RUN, "correctness", score=0.25, **ids)
    await tokens(client)
    settle()
    await readings(client)
    await call("delete", client.delete_feedback, WHOLE)
    settle()
    await call("read_deleted", client.read_feedback, WHOLE)
    stranger = AsyncClient(api_url=base_url, api_key=wrong_key)
    await call("wrong_key", stranger.create_feedback, RUN, "k", score=1)


async def creations(create):
    located = {"session_id": PROJECT} if VERSION >= (0, 15) else {}
    start = {"start_time": datetime.datetime(2024, 5, 5, 1, 2, 3), "extend_trace_retention": False}
    await call(
        "whole",
        create,
        RUN,
        "correctness",
        trace_id=TRACE,
        score=0.12345,
        value={"label": "ok"},
        comment="très bien",
        correction={"answer": "42"},
        source_info={"model": "judge-1", "n": 1},
        feedback_source_type="model",
        source_run_id=JUDGE,
        feedback_id=WHOLE,
        comparative_experiment_id=EXPERIMENT,
        feedback_group_id=GROUP,
        extra={"lang": "fr", "n": 2},
        error=False,
        **located,
        **(start if located else {}),
    )
    said = {"score": 0.25, "value": {"label": "ok"}, "comment": "c", "feedback_id": CHANGED}
    await call("changed", create, RUN, "changed", **said, **located)
    await call("thumb", create, RUN, "thumb", score=True, **located)
    await call("one", create, RUN, "one", score=1, **located)
    await call("words", create, RUN, "words", value="good", **located)
    await call("unnamed", create, RUN, score=0, **located)
    await call("of_project", create, project_id=PROJECT, key="summary", score=0.75)
    await call("twice", create, RUN, "twice", score=0, comment="c", feedback_id=TWICE, **located)
    await call("twice_again", create, RUN, "twice", score=1, comment="c", feedback_id=TWICE, **located)
    for name, run, score in (("left", RUN, 1), ("right", TRACE, 0)):
        preferred = {"comparative_experiment_id": EXPERIMENT, "feedback_group_id": GROUP}
        await call(name, create, run, "preferred", score=score, **preferred, **located)
    config = {"type": "continuous", "min": 0, "max": 5}
    await call("with_config", create, RUN, "depth", score=3, feedback_config=config, **located)
    for number in range(3):
        await call(f"listed_{number}", create, LISTED, "listed", score=number, **located)
    await call("long_key", create, RUN, "k" * 5000, score=1, **located)


async def tokens(client):
    hour = {"expiration": datetime.timedelta(hours=1)}
    token = await call("token", client.create_presigned_feedback_token, RATED, "by_token", **hour)
    # Saying it again is saying it anew.
    for name, score in (("by_token", 0), ("by_token_again", 1)):
        said = {"score": score, "comment": "c", "metadata": {"m": "1"}}
        await call(name, client.create_feedback_from_token, str(token.id), **said)
    token = await call("token_of_url", client.create_presigned_feedback_token, RATED, "by_url", **hour)
    await call("by_url", client.create_feedback_from_token, token.url, value="good")
    past = {"expiration": datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)}
    await call("old_token", client.create_presigned_feedback_token, RATED, "old", **past)
    await call("token_for_browser", client.create_presigned_feedback_token, RATED, "by_browser")


async def configs(client):
    stars = {"type": "continuous", "min": 0, "max": 5}
    await call("declare", client.create_feedback_config, "stars", feedback_config=stars)
    await call("declare_again", client.create_feedback_config, "stars", feedback_config=stars)
    other = {"type": "continuous", "min": 0, "max": 10}
    await call("declare_other", client.create_feedback_config, "stars", feedback_config=other)
    await call("change", client.update_feedback_config, "stars", feedback_config=other)
    await call("configs", client.list_feedback_configs, feedback_key=["stars"])
    await call("forget", client.delete_feedback_config, "stars")
    await call("configs_after", client.list_feedback_configs, feedback_key=["stars"])


async def readings(client):
    await call("read", client.read_feedback, WHOLE)
    await call("list", client.list_feedback, run_ids=[LISTED])
    await call("list_limited", client.list_feedback, run_ids=[LISTED], limit=2)
    await call("list_by_key", client.list_feedback, run_ids=[RUN], feedback_key=["twice", "thumb"])
    await call("list_nothing", client.list_feedback, run_ids=[JUDGE])
    of_models = {"run_ids": [RUN], "feedback_source_type": [FeedbackSourceType.MODEL]}
    await call("list_by_source", client.list_feedback, **of_models)


async def main(kind, *arguments):
    await {"sync": sync_client, "async": async_client}[kind](*arguments)


# One is about feedback without a project, which is as good as any other here.
warnings.simplefilter("ignore")
run(main)
