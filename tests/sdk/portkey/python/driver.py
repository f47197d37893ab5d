"""Gives feedback with Portkey's own Python client and prints what the client says.

Usage: driver.py sync|async BASE_URL KEY WRONG_KEY TRACE

Prints one JSON object: for each call its answer, or the client's exception.
"""

import asyncio
import inspect
import json
import sys

from portkey_ai import AsyncPortkey, Portkey
from portkey_ai.api_resources import exceptions


async def settle(call):
    """The answer of a call of either client, or its exception."""
    try:
        answer = call()
        if inspect.isawaitable(answer):
            answer = await answer
    except exceptions.APIStatusError as error:
        kind = type(error).__name__
        return {"exception": kind, "status": error.status_code, "message": error.message}
    return {"status": answer.status, "message": answer.message, "feedback_ids": answer.feedback_ids}


async def main(kind, base_url, key, wrong_key, trace):
    client_type = {"sync": Portkey, "async": AsyncPortkey}[kind]
    client = client_type(api_key=key, base_url=base_url)
    stranger = client_type(api_key=wrong_key, base_url=base_url)
    results = {}
    results["create"] = await settle(
        lambda: client.feedback.create(
            trace_id=trace,
            value=5,
            weight=0.5,
            metadata={"_user": "ada", "_prompt": "p-1", "text": "très bien", "nested": {"k": [1, None]}},
        )
    )
    results["bulk"] = await settle(
        lambda: client.feedback.bulk_create(
            feedbacks=[
                {"trace_id": trace, "value": 1},
                {"trace_id": trace, "value": -10, "weight": 0.25, "metadata": {"env": "prod"}},
            ]
        )
    )
    created = results["create"]["feedback_ids"][0]
    results["update"] = await settle(
        lambda: client.feedback.update(feedback_id=created, value=-3, metadata={"_user": "bob"})
    )
    results["bad_value"] = await settle(lambda: client.feedback.create(trace_id=trace, value=11))
    results["no_trace"] = await settle(lambda: client.feedback.create(value=1))
    results["wrong_key"] = await settle(lambda: stranger.feedback.create(trace_id=trace, value=1))
    print(json.dumps(results))


asyncio.run(main(*sys.argv[1:]))
