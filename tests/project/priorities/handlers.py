"""Functions that assign priorities, as users write them."""

import asyncio
import dataclasses
import warnings

import langgraph_sdk

import loomline


def priority(maker, assign):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # beta, told once in a process
        made = maker.Priority()
    made.assign(assign)
    return made


calls: list[dict[str, object]] = []


async def by_metadata(ctx):
    calls.append(dataclasses.asdict(ctx) | {"user": ctx.user.identity})
    wanted = {**ctx.thread_metadata, **ctx.run_metadata}.get("priority")
    if wanted == "raise":
        raise RuntimeError("secret")
    if wanted == "hang":
        await asyncio.Event().wait()
    return {"priority": wanted, "fairness_group": "all"}


ours = priority(loomline, by_metadata)
official = priority(langgraph_sdk, by_metadata)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    empty = loomline.Priority()

number = 7
