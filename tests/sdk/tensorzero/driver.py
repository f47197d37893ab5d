"""Gives feedback with TensorZero's own Python client.

Usage: driver.py sync|async BASE_URL KEY WRONG_KEY

The older client knows no keys: KEY and WRONG_KEY are empty for it.
"""

import inspect

from script import call, run
from tensorzero import AsyncTensorZeroGateway, TensorZeroGateway

INFERENCE = "0196c682-72e0-7c83-a92b-9d1a3c7630f2"
EPISODE = "0196c682-72e0-7c83-a92b-9d1a3c7630f3"
BLOCKS = [
    {"type": "text", "text": "hi"},
    {"type": "tool_call", "id": "1", "name": "get", "arguments": {"a": 1}},
]


async def main(kind, base_url, key, wrong_key):
    client_type = {"sync": TensorZeroGateway, "async": AsyncTensorZeroGateway}[kind]

    async def connect(key):
        options = {"api_key": key} if key else {}
        client = client_type.build_http(gateway_url=base_url, **options)
        return await client if inspect.isawaitable(client) else client

    client = await connect(key)

    async def give(name, **feedback):
        await call(name, client.feedback, **feedback)

    author = {"author": "Alice", "env": "prod"}
    await give("accepted", metric_name="accepted", value=True, inference_id=INFERENCE, tags=author)
    await give("stars", metric_name="stars", value=4.5, episode_id=EPISODE, tags={"user_id": "u-1"})
    await give("whole_stars", metric_name="stars", value=4, episode_id=EPISODE)
    await give("comment", metric_name="comment", value="très bien", inference_id=INFERENCE)
    await give("comment_on_episode", metric_name="comment", value="long", episode_id=EPISODE)
    await give("shown_text", metric_name="demonstration", value="better", inference_id=INFERENCE)
    await give("shown_blocks", metric_name="demonstration", value=BLOCKS, inference_id=INFERENCE)
    reviewed = {
        "tensorzero::human_feedback": "true",
        "tensorzero::datapoint_id": EPISODE,
        "tensorzero::evaluator_inference_id": INFERENCE,
    }
    await give(
        "reviewed",
        metric_name="accepted",
        value=False,
        inference_id=INFERENCE,
        internal=True,
        tags=reviewed,
    )
    # Checked as the others are, and not kept.
    await give("dry", metric_name="accepted", value=True, inference_id=INFERENCE, dryrun=True)
    dry = {"metric_name": "accepted", "inference_id": INFERENCE, "dryrun": True}
    await give("bad_dry", value="yes", **dry)
    await give("unknown_metric", metric_name="never", value=True, inference_id=INFERENCE)
    await give("no_uuid", metric_name="accepted", value=True, inference_id="no-uuid")
    if wrong_key:
        stranger = await connect(wrong_key)
        await call(
            "wrong_key",
            stranger.feedback,
            metric_name="accepted",
            value=True,
            inference_id=INFERENCE,
        )


run(main)
