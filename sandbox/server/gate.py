"""Request pipeline: checks user agent, token, rate limit and parameters, injects faults, then runs the operation."""

import re
import time
import uuid

from sandbox.api import lwa, storage
from sandbox.api.answers import (
    TOKEN_EXPIRED,
    TOKEN_INVALID,
    TOKEN_MISSING,
    AmazonError,
    Answer,
    ConnectionDroppedError,
    failure,
    invalid_input,
    unauthorized,
)
from sandbox.api.calls import Call, IncomingRequest, Operation
from sandbox.world.world import World

MAX_USER_AGENT_LENGTH = 500
_TEXT = r"(?:[^\\/()=;]|\\[\\/()=;])+"
# AppId/AppVersionId (Language=Name[/version]; Name=Value…)
_USER_AGENT = re.compile(rf"{_TEXT}/{_TEXT} \(Language={_TEXT}(?:/{_TEXT})?(?:; ?{_TEXT}={_TEXT})*\)")
# The user agent of Amazon's own SDKs, which does not follow the documented format.
_SDK_USER_AGENT = re.compile(r"amazon-selling-partner-api-sdk/[\w.]+/[a-z#+]+")


def _refuse(_: Call) -> Answer:
    raise unauthorized()


# Amazon answers an unknown path with the same 403 as a forbidden one, with or without a token.
UNKNOWN = Operation("unknown", "*", "/{path:path}", _refuse)


def check_user_agent(user_agent: str | None, *, lenient: bool = False) -> None:
    r"""Raise 400 unless the header has Amazon's documented format and at most 500 characters.

    A backslash escapes `\ / ( ) = ;`. Amazon is known to enforce the length only; the sandbox enforces the format too,
    so that a wrong one is found before Amazon starts to reject it, unless it is `lenient`.
    """
    if not user_agent:
        raise invalid_input("The user-agent header is missing.")
    if len(user_agent) > MAX_USER_AGENT_LENGTH:
        raise invalid_input(f"The user-agent header must not have more than {MAX_USER_AGENT_LENGTH} characters.")
    if not user_agent.isascii() or not user_agent.isprintable():
        raise invalid_input("The user-agent header must be printable ASCII.")
    if lenient:
        return
    if not _USER_AGENT.fullmatch(user_agent) and not _SDK_USER_AGENT.fullmatch(user_agent):
        raise invalid_input("The user-agent header must read: AppId/AppVersionId (Language=Name[/version]; Name=Value)")


def _authenticate(call: Call) -> None:
    access_token = call.incoming.headers.get("x-amz-access-token")
    if not access_token:
        raise unauthorized(TOKEN_MISSING)
    token = call.world.tokens.get(access_token)
    if token is None:
        raise unauthorized(TOKEN_INVALID)
    if token.expires_at <= call.world.clock.wall():
        raise unauthorized(TOKEN_EXPIRED)
    if token.seller_id is not None:
        call.merchant_or_none = call.world.merchants.get(token.seller_id)


def _inject_fault_before(call: Call) -> None:
    """Apply a scripted fault that happens before the operation takes effect: a delay, an error or a reset."""
    fault = call.fault
    if fault is None:
        return
    if fault.fault == "delay":
        time.sleep(fault.seconds)
    elif fault.fault == "reset_before":
        raise ConnectionDroppedError
    elif fault.fault == "expired_token":
        call.world.tokens[call.incoming.headers["x-amz-access-token"]].expires_at = 0.0
        raise unauthorized(TOKEN_EXPIRED)
    elif fault.fault in {"429", "500", "503"}:
        raise failure(call.operation.style, int(fault.fault))
    elif fault.fault == "status":
        raise AmazonError(fault.status or 500, "Scripted", "A scripted answer.", body=fault.body)


def _check_rate_limit(call: Call) -> None:
    """Take a token from the bucket of this application, seller, region and operation; 429 if it is empty."""
    operation, merchant = call.operation, call.merchant_or_none
    if operation.rate is None or merchant is None:
        return
    key = (merchant.client_id, merchant.seller_id, merchant.region, operation.name)
    now = call.world.clock.waited()
    if not call.world.buckets.take(key, rate=operation.rate, burst=operation.burst, now=now):
        raise failure(operation.style, 429)


def _identify_caller(call: Call) -> None:
    """Set the call's seller from its access token, refresh token or signed URL; check user agent and access token."""
    if call.operation.style == "sp-api":
        check_user_agent(call.incoming.headers.get("user-agent"), lenient=call.world.lenient)
        _authenticate(call)
    elif call.operation.style == "lwa":
        lwa.identify_seller(call)
    else:
        storage.identify_seller(call)


def _run(call: Call, resets: int) -> Answer:
    """Run the operation, then apply a scripted fault that loses its answer after it took effect.

    `resets` is the world's number of resets when the call arrived; if it was reset during a delay, the call has no
    effect.
    """
    if call.operation is UNKNOWN:
        raise unauthorized()
    with call.world.lock:
        _identify_caller(call)
        call.fault = call.take_due_fault()
    _inject_fault_before(call)
    with call.world.lock:
        if call.world.resets != resets:
            raise ConnectionDroppedError
        _check_rate_limit(call)
        if call.operation.style == "sp-api":
            call.read_query()
        call.world.settle()
        answer = call.operation.handler(call)
    fault = call.fault
    if fault is not None and fault.fault == "reset_after":
        raise ConnectionDroppedError
    if fault is not None and fault.fault == "error_after":
        raise failure(call.operation.style, fault.status or 500)
    return answer


def serve(world: World, operation: Operation, incoming: IncomingRequest) -> Answer:
    """Answer one call, with Amazon's headers, and count it; ConnectionDroppedError if the connection is to be reset."""
    request_id = str(uuid.uuid4())
    call = Call(world, operation, incoming)
    outcome, resets = "dropped", world.resets
    try:
        answer = _run(call, resets)
        outcome = str(answer.status)
    except AmazonError as error:
        answer = error.answer(operation.style, request_id)
        if call.fault is not None and call.fault.fault == "status":
            answer.headers.update(call.fault.headers)
        outcome = str(answer.status)
    finally:
        merchant = call.merchant_or_none
        if world.resets == resets:
            world.count_call(operation.name, merchant.seller_id if merchant else None, outcome)
    answer.headers["x-amzn-RequestId"] = request_id
    if operation.rate is not None and answer.status in {200, 201, 202, 204, 400, 404}:
        answer.headers["x-amzn-RateLimit-Limit"] = str(round(operation.rate * world.clock.speed, 6))
    return answer
