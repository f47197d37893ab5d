"""Asks a TensorZero gateway, over HTTP or the one that is inside the package.

Usage: ask.py http BASE_URL KEY REQUESTS
       ask.py embedded CONFIG_FILE - REQUESTS

REQUESTS is a JSON object: the arguments of `feedback` by the names of the calls.
"""

import json

from script import call, run
from tensorzero import TensorZeroGateway


async def main(kind, where, key, requests):
    if kind == "http":
        gateway = TensorZeroGateway.build_http(gateway_url=where, api_key=key)
    else:
        gateway = TensorZeroGateway.build_embedded(config_file=where)
    for name, feedback in json.loads(requests).items():
        await call(name, gateway.feedback, **feedback)


run(main)
