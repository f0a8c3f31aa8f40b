"""Simulated failures of the gateway."""

from __future__ import annotations

from botctl.core.errors import UsageError
from botctl.sandbox.incidents.catalogue import incident, inject_faults, until_stopped
from botctl.sandbox.model.gateway import session
from botctl.sandbox.model.gateway.opcodes import (
    GUILD_MEMBERS,
    MESSAGE_CONTENT,
    PRESENCES,
    PRIVILEGED,
    CloseCode,
)
from botctl.sandbox.sandbox import Sandbox

_GATEWAY = "Discord: Gateway > Disconnecting, Resuming"


@incident(_GATEWAY)
async def op7_storm(sandbox: Sandbox, every_s: float = 1.0) -> None:
    """Asks every connected session to reconnect (op 7), again and again.

    Discord does this when it replaces gateway nodes. Each client should close with a code other than 1000 and 1001, and
    RESUME at once. Then it keeps its session and needs no IDENTIFY.
    """
    while True:
        for gateway_session in sandbox.sessions.connected():
            session.request_reconnect(gateway_session)
        await sandbox.clock.sleep(every_s)


@incident("Discord: Gateway > Initiating a Disconnect; Opcodes > Invalid Session")
async def op9(sandbox: Sandbox, resumable: bool = False) -> None:
    """Invalidates every session (op 9). Unless ``resumable``, the session is over and the client must IDENTIFY.

    Discord asks clients to wait a random 1 to 5 s before that IDENTIFY. It counts towards the 1,000 a day.
    """
    for gateway_session in sandbox.sessions.connected():
        sandbox.sessions.invalidate(gateway_session, sandbox.clock.monotonic(), resumable=resumable)


@incident("Discord: Gateway Events > Ready: resume_gateway_url; reports of clients stuck at a resume host")
async def resume_host_dead(sandbox: Sandbox) -> None:
    """Aborts every connection, and ``resume_gateway_url`` drops new ones. REST and /gateway still work.

    A client that only tries to RESUME stays offline. It must IDENTIFY at the address of /gateway/bot. In the sandbox
    both are one address, so the first attempts after each loss are dropped, and so is every connection that sends a
    RESUME.
    """
    with inject_faults(sandbox, resume_host_down=True, attempts_to_drop=0):
        sandbox.faults.lose_connections(len(sandbox.sessions.connected()))
        _abort_all(sandbox)
        await until_stopped(sandbox)


@incident("Discord: Gateway > Sending Heartbeats: a zombied or failed connection")
async def half_open(sandbox: Sandbox) -> None:
    """Mutes every open connection: nothing arrives in either direction, and no close is sent.

    A crashed router between the bot and Discord looks like this. Only the missing heartbeat ACK shows it. The client
    should close with a code other than 1000, not wait for the answer, and RESUME. New connections work.
    """
    for gateway_session in sandbox.sessions.connected():
        if gateway_session.transport is not None:
            gateway_session.transport.mute()


@incident("reports of bots that heard nothing for half an hour, while Discord answered their heartbeats")
async def deaf(sandbox: Sandbox, new_connections: bool = False) -> None:
    """Sends no events (op 0) on any open connection, not even the answers to op 8. Heartbeats get their ACK.

    REST works, so only a question that an event answers shows it, such as op 8 for the bot itself. A client should
    close with a code other than 1000 and RESUME: it gets what it missed. With ``new_connections`` that heals nothing:
    a RESUME gets what was missed and RESUMED, a login gets READY and the guilds, and then both hear nothing.
    """
    for gateway_session in sandbox.sessions.connected():
        gateway_session.deafen()
    try:
        with inject_faults(sandbox, deafens_connections=new_connections):
            await until_stopped(sandbox)
    finally:
        for gateway_session in sandbox.sessions.connected():
            gateway_session.undeafen()


@incident("Discord: Gateway > Sending Heartbeats")
async def missed_acks(sandbox: Sandbox) -> None:
    """Heartbeats get no ACK (op 11), but events still arrive.

    Discord: a client that gets no ACK between two heartbeats should close the connection with a code other than 1000
    and RESUME.
    """
    with inject_faults(sandbox, acknowledges_heartbeats=False):
        await until_stopped(sandbox)


@incident("Discord: Gateway > Resuming: missed events are replayed; clients saw some of them twice")
async def repeated_deliveries(sandbox: Sandbox, count: int = 5) -> None:
    """Aborts every connection, and each RESUME repeats the last ``count`` events that the client already had.

    Around a RESUME Discord delivers events at least once. A bot can detect a repeated event by its sequence number.
    """
    with inject_faults(sandbox, repeated_dispatches=count):
        _abort_all(sandbox)
        await until_stopped(sandbox)


@incident("Discord: Gateway Events; Gateway > Close Codes 4004; Rate Limits > Invalid Request Limit")
async def token_reset(sandbox: Sandbox) -> dict[str, str]:
    """Replaces the bots' tokens: every session ends with close code 4004, and REST answers 401.

    Discord does this when a token leaks to a public repository, when its owner resets it, and when the daily IDENTIFYs
    are used up. Each 401 counts towards the 10,000 invalid requests in 10 minutes. The result contains the new tokens.
    """
    return {application_id: sandbox.reset_token(application_id) for application_id in list(sandbox.world.applications)}


@incident("Discord: Gateway > Privileged Intents; Gateway Close Event Codes 4014")
async def intent_withdrawn(sandbox: Sandbox, intent: str = "message_content") -> None:
    """Withdraws a privileged intent: members, presences or message_content. Sessions that have it end with 4014.

    Discord does this when its yearly review of a bot with 10,000 users is not answered or ends badly. An IDENTIFY that
    asks for the intent gets 4014 again, which clients must not repeat. Stopping the incident gives the intent back.
    """
    names = {"members": GUILD_MEMBERS, "presences": PRESENCES, "message_content": MESSAGE_CONTENT}
    if intent not in names:
        raise UsageError(f"“{intent}” is no privileged intent.", hint=f"There are {', '.join(names)}.")
    applications = list(sandbox.world.applications.values())
    before = {app.id: app.flags for app in applications}
    for app in applications:
        app.flags &= ~PRIVILEGED[names[intent]]
    ended = [each for each in sandbox.sessions.connected() if each.intents & names[intent]]
    for gateway_session in ended:
        if gateway_session.transport is not None:
            gateway_session.transport.close(*CloseCode.DISALLOWED_INTENTS)
    sandbox.sessions.remove(ended)
    try:
        await until_stopped(sandbox)
    finally:
        for app in applications:
            app.flags = before[app.id]


def _abort_all(sandbox: Sandbox) -> None:
    for gateway_session in sandbox.sessions.connected():
        if gateway_session.transport is not None:
            gateway_session.transport.abort()
