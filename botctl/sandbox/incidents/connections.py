"""Incidents of the gateway."""

from __future__ import annotations

from botctl.sandbox.incidents.catalogue import incident, troubled, until_stopped
from botctl.sandbox.model.gateway import session
from botctl.sandbox.server import Sandbox

_GATEWAY = "Discord: Gateway > Disconnecting, Resuming"


@incident(_GATEWAY)
async def op7_storm(sandbox: Sandbox, every_s: float = 1.0) -> None:
    """Every connected session is asked to reconnect (op 7), again and again.

    Discord does this when gateway nodes are replaced: each client is to close with a code other than 1000 and 1001, and
    to RESUME at once. No session is lost and no IDENTIFY is spent by a client that does so.
    """
    while True:
        for one in sandbox.sessions.connected():
            session.request_reconnect(one)
        await sandbox.clock.sleep(every_s)


@incident("Discord: Gateway > Initiating a Disconnect; Opcodes > Invalid Session")
async def op9(sandbox: Sandbox, resumable: bool = False) -> None:
    """Every session is told that it is invalid (op 9). Unless ``resumable``, it has ended: the client must IDENTIFY.

    Discord asks clients to wait a random 1 to 5 s before that IDENTIFY; each one counts towards the day's 1,000.
    """
    for one in sandbox.sessions.connected():
        sandbox.sessions.invalidate(one, sandbox.clock.monotonic(), resumable=resumable)


@incident("Discord: Gateway Events > Ready: resume_gateway_url; reports of clients stuck at a resume host")
async def resume_host_dead(sandbox: Sandbox) -> None:
    """Every connection is cut, and the host of ``resume_gateway_url`` drops connections; REST and /gateway are healthy.

    A client that retries the resume host for ever stays down. The way out is a fresh IDENTIFY at the address of
    /gateway/bot.
    """
    with troubled(sandbox, resume_host_down=True):
        _cut_all(sandbox)
        await until_stopped(sandbox)


@incident("Discord: Gateway > Sending Heartbeats: a zombied or failed connection")
async def half_open(sandbox: Sandbox) -> None:
    """Every connection that stands goes mute: nothing arrives in either direction, and no close is sent.

    So a lost NAT entry or a dead peer looks. Only the missing heartbeat ACK tells the client; it is to close with a
    code other than 1000, which nobody answers, and to RESUME. New connections work. Discord itself takes the client for
    gone once it has missed its heartbeats.
    """
    for one in sandbox.sessions.connected():
        if one.transport is not None:
            one.transport.mute()


@incident("Discord: Gateway > Sending Heartbeats")
async def missed_acks(sandbox: Sandbox) -> None:
    """Heartbeats are not answered (no op 11), while events go on coming.

    Discord: a client without an ACK between two heartbeats should close the connection with a code other than 1000 and
    RESUME.
    """
    with troubled(sandbox, acknowledges_heartbeats=False):
        await until_stopped(sandbox)


@incident("Discord: Gateway > Resuming: missed events are replayed; clients saw some of them twice")
async def repeated_deliveries(sandbox: Sandbox, count: int = 5) -> None:
    """Every connection is cut, and at the RESUME the last ``count`` events that the client had are told once more.

    Discord delivers at least once around a RESUME: whoever acts on an event twice pays twice. Sequence numbers tell.
    """
    with troubled(sandbox, repeated_dispatches=count):
        _cut_all(sandbox)
        await until_stopped(sandbox)


@incident("Discord: Gateway Events; Gateway > Close Codes 4004; Rate Limits > Invalid Request Limit")
async def token_reset(sandbox: Sandbox) -> dict[str, str]:
    """The bots' tokens are replaced: every session ends with close code 4004, and REST answers 401.

    Discord does this when a token leaks to a public repository, when its owner asks for it, and when the IDENTIFYs of a
    day are used up. Each 401 counts towards the 10,000 invalid requests. The new tokens are in the answer.
    """
    return {one: sandbox.reset_token(one) for one in list(sandbox.world.applications)}


def _cut_all(sandbox: Sandbox) -> None:
    for one in sandbox.sessions.connected():
        if one.transport is not None:
            one.transport.abort()
