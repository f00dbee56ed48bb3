"""The gate every call passes: user agent, token, scripted faults, rate limit, parameters; then the operation."""

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
from sandbox.api.calls import Call, Incoming, Operation
from sandbox.world.world import World

LONGEST_USER_AGENT = 500
_WORD = r"(?:[^\\/()=;]|\\[\\/()=;])+"
# AppId/AppVersionId (Language=Name[/version]; Name=Value…)
_USER_AGENT = re.compile(rf"{_WORD}/{_WORD} \(Language={_WORD}(?:/{_WORD})?(?:; ?{_WORD}={_WORD})*\)")
# What Amazon's own SDKs send does not keep to Amazon's format.
_AMAZONS_OWN = re.compile(r"amazon-selling-partner-api-sdk/[\w.]+/[a-z#+]+")


def _no_such_operation(_: Call) -> Answer:
    raise unauthorized()


# Amazon answers a path it does not know like one that is forbidden, whoever asks.
UNKNOWN = Operation("unknown", "*", "/{path:path}", _no_such_operation)


def check_user_agent(user_agent: str | None) -> None:
    r"""400 unless the header has Amazon's documented form: `\ / ( ) = ;` escaped by a backslash, ≤ 500 characters.

    Amazon enforces the length; the form is enforced here only, so that a wrong one is found before Amazon minds it.
    """
    if not user_agent:
        raise invalid_input("The user-agent header is missing.")
    if len(user_agent) > LONGEST_USER_AGENT:
        raise invalid_input(f"The user-agent header must not have more than {LONGEST_USER_AGENT} characters.")
    if not user_agent.isascii() or not user_agent.isprintable():
        raise invalid_input("The user-agent header must be printable ASCII.")
    if not _USER_AGENT.fullmatch(user_agent) and not _AMAZONS_OWN.fullmatch(user_agent):
        raise invalid_input("The user-agent header must read: AppId/AppVersionId (Language=Name[/version]; Name=Value)")


def _authenticate(call: Call) -> None:
    presented = call.incoming.headers.get("x-amz-access-token")
    if not presented:
        raise unauthorized(TOKEN_MISSING)
    token = call.world.tokens.get(presented)
    if token is None:
        raise unauthorized(TOKEN_INVALID)
    if token.expires_at <= call.world.clock.wall():
        raise unauthorized(TOKEN_EXPIRED)
    if token.seller_id is not None:
        call.merchant_or_none = call.world.merchants.get(token.seller_id)


def _strike_before(call: Call) -> None:
    """Do what the scripted fault does before the operation takes effect."""
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
        raise AmazonError(fault.status or 500, "Scripted", "A scripted answer.", document=fault.body)


def _charge(call: Call) -> None:
    """Take a token from the bucket of this application, seller, region and operation; 429 when it is empty."""
    operation, merchant = call.operation, call.merchant_or_none
    if operation.rate is None or merchant is None:
        return
    key = (merchant.client_id, merchant.seller_id, merchant.region, operation.name)
    now = call.world.clock.waited()
    if not call.world.buckets.take(key, rate=operation.rate, burst=operation.burst, now=now):
        raise failure(operation.style, 429)


def _admit(call: Call) -> None:
    if call.operation.style == "sp-api":
        check_user_agent(call.incoming.headers.get("user-agent"))
        _authenticate(call)
    elif call.operation.style == "lwa":
        lwa.seller_of(call)
    else:
        storage.seller_of(call)
    merchant = call.merchant_or_none
    seller_id = merchant.seller_id if merchant else None
    call.fault = call.world.faults.strike(call.operation.name, seller_id, call.operation.subject(call))


def _perform(call: Call, resets: int) -> Answer:
    """Run the operation, and then let the scripted fault take the answer away.

    `resets` is how often the world had been reset when the call came; a delayed call of an earlier world does nothing.
    """
    if call.operation is UNKNOWN:
        raise unauthorized()
    with call.world.lock:
        _admit(call)
    _strike_before(call)
    with call.world.lock:
        if call.world.resets != resets:
            raise ConnectionDroppedError
        _charge(call)
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


def serve(world: World, operation: Operation, incoming: Incoming) -> Answer:
    """Answer one call, with Amazon's headers; ConnectionDroppedError when it shall get no answer."""
    request_id = str(uuid.uuid4())
    call = Call(world, operation, incoming)
    outcome, resets = "dropped", world.resets
    try:
        answer = _perform(call, resets)
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
