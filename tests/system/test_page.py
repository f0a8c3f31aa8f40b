"""The page in a real browser, on real processes: a bot in the sandbox, and a realtime server that can be killed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, WebSocketRoute, expect

import botctl
from botctl.monitor.snapshot import ShardSnapshot
from tests.support.browser import Guest, guest, wait_for_fault
from tests.support.page_site import BOB, CAT, GUILD, Site, running_site
from tests.support.waiting import wait_for

ROOMS = sorted(path.stem for path in (Path(botctl.__file__).parent / "web/static/rooms").glob("*.js"))
HOSTILE = '<img src=x onerror="alert(1)">'
RECORD_CONNECTION = """() => {
  const connection = document.querySelector(".connection");
  window.shown = [];
  new MutationObserver(() => window.shown.push(connection.innerText))
    .observe(connection, { subtree: true, childList: true, characterData: true, attributes: true });
}"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running_site(tmp_path_factory.mktemp("page") / "bot") as running:
        yield running


def heading(page: Page) -> Any:
    return page.get_by_role("heading", level=1)


def rooms_of(page: Page) -> list[str]:
    return page.get_by_role("navigation").get_by_role("link").all_inner_texts()


def relayed_sockets(visitor: Guest) -> list[WebSocketRoute]:
    """The connections of ``visitor`` to the realtime server, so that a test can close them or add to them."""
    sockets: list[WebSocketRoute] = []

    def pass_on(socket: WebSocketRoute) -> None:
        socket.connect_to_server()
        sockets.append(socket)

    visitor.page.route_web_socket("**/realtime", pass_on)
    return sockets


def test_person_signs_in_through_the_consent_page(site: Site) -> None:
    with guest(site.browser, site.url) as visitor:
        visitor.page.goto(f"{site.url}/#/audit?outcome=error")
        visitor.page.get_by_role("link", name="Sign in with Discord").click()
        visitor.page.get_by_label("You are").select_option(label="ann")
        visitor.page.get_by_role("button", name="Authorize").click()
        visitor.wait_until_live()
        expect(heading(visitor.page)).to_have_text("Audit log")  # where the person wanted to go
        expect(visitor.page.get_by_label("Outcome")).to_have_value("error")
        assert rooms_of(visitor.page) == ["State", "Jobs", "Limits", "Audit log", "Me"]


def test_person_without_rights_is_told_what_a_room_needs(site: Site) -> None:
    with site.person("cat") as visitor:
        visitor.open("jobs")
        assert rooms_of(visitor.page) == ["Me"]
        expect(visitor.page.get_by_role("main")).to_contain_text("You need the permission jobs:read to see this.")
        visitor.page.get_by_role("link", name="Why do I not have it?").click()
        expect(visitor.page.get_by_role("main")).to_contain_text("To allow it, grant")
        visitor.page.get_by_label("Permission or command").fill("/ops status")
        visitor.page.get_by_role("button", name="Explain").click()
        expect(visitor.page.locator(".answer")).to_contain_text("cat may not use ops status, which needs the role")
        visitor.page.get_by_label("Permission or command").fill("/ping")
        visitor.page.get_by_role("button", name="Explain").click()
        expect(visitor.page.locator(".answer")).to_have_text(re.compile("^yes\\s*cat may use ping.$"))


def test_state_is_live(site: Site) -> None:
    with site.shared("ann") as visitor:
        visitor.open("state")
        expect(visitor.page.locator(".verdict .words")).to_have_text("Healthy")
        expect(visitor.page.locator(".verdict .why")).to_have_text("All is well")
        expect(visitor.page.get_by_role("table", name="Processes").locator("tbody tr")).to_have_count(2)
        finished = visitor.page.locator(".facts-grid div", has_text="Finished").locator("dd")
        before = finished.inner_text()
        site.command("ping", "bob")
        expect(visitor.page.locator(".events li", has_text="/ping by bob").first).to_be_visible()
        expect(finished).not_to_have_text(before)
        visitor.page.reload()
        expect(visitor.page.locator(".events li", has_text="/ping by bob").first).to_be_visible()  # the last ones


def test_verdict_changes_while_one_looks(site: Site) -> None:
    with site.shared("ann") as visitor:
        visitor.open("state")
        visitor.wait_until_live()
        verdict = visitor.page.locator(".verdict")
        with site.process_elsewhere(ShardSnapshot(id=7, state="ready", heard_ago_s=9.0, misses=2), roles=("bot",)):
            expect(verdict.locator(".words")).to_have_text("Degraded")  # another shard hears
            expect(verdict).to_contain_text(re.compile("shard 7 of other:7 is deaf: .* unanswered", re.IGNORECASE))
            expect(verdict).to_contain_text("What to do: ")
            expect(visitor.page.locator(".tiles li", has_text="Shard 7")).to_contain_text("deaf")
            expect(visitor.page.get_by_role("row", name=re.compile("other:7"))).to_contain_text("degraded")
            assert visitor.contrasts() == []
        expect(verdict).not_to_contain_text("other:7")


def test_job_is_paused_with_the_keyboard_alone(site: Site) -> None:
    with site.shared("ann") as visitor:
        page, keyboard = visitor.page, visitor.page.keyboard
        visitor.open()
        visitor.wait_until_live()

        def go_to(name: str) -> None:
            def reached() -> bool:
                keyboard.press("Tab")
                outline = page.evaluate("() => getComputedStyle(document.activeElement).outlineStyle")
                assert outline != "none", "the focus cannot be seen"
                focused = "() => document.activeElement.ariaLabel || document.activeElement.textContent"
                return bool(page.evaluate(focused) == name)

            wait_for(reached, what=f"the focus on {name}")

        go_to("Skip to the content")
        go_to("Jobs")
        keyboard.press("Enter")
        expect(heading(page)).to_be_focused()
        expect(heading(page)).to_have_text("Jobs")
        row = page.get_by_role("row", name=re.compile("trim-events"))
        expect(row).to_be_visible()
        go_to("Pause trim-events")
        keyboard.press("Enter")
        expect(page.get_by_role("dialog")).to_be_visible()
        keyboard.press("Enter")  # without a reason nothing is done
        expect(page.get_by_role("dialog").get_by_role("alert")).to_have_text("Reason is missing.")
        keyboard.type("the channel moves")
        keyboard.press("Enter")
        expect(page.get_by_role("dialog")).to_have_count(0)
        expect(row).to_contain_text("paused")
        expect(row).to_contain_text("by ann: the channel moves")
        expect(page.locator("#notices")).to_contain_text("trim-events is paused")
        visitor.open("audit?action=job.pause")
        entry = page.get_by_role("row", name=re.compile("job.pause"))
        expect(entry).to_contain_text("the channel moves")
        expect(entry).to_contain_text("@ann")
        visitor.open("audit?action=job.*&since=2999-01-01")
        expect(page.get_by_label("Since (your time)")).to_have_value("2999-01-01")
        with page.expect_request("**/api/audit?*") as asked:
            page.get_by_role("button", name="Filter").click()
        assert re.search(r"since=29\d\d-\d\d-\d\dT\d\d%3A\d\d%3A00.000Z", asked.value.url)
        expect(page.get_by_label("Since (your time)")).to_have_value("2999-01-01 00:00:00")
        page.goto(f"{site.url}/#/state")


def test_limits_are_reset_with_a_reason(site: Site) -> None:
    with site.shared("ann") as visitor:
        site.command("roll", "cat")
        visitor.open("limits")
        visitor.page.get_by_role("button", name="Reset roll", exact=True).click()
        dialog = visitor.page.get_by_role("dialog")
        dialog.get_by_label("Subject").fill("user:cat")
        dialog.get_by_label("Reason").fill("a test")
        dialog.get_by_role("button", name="Reset").click()
        expect(dialog.get_by_role("alert")).to_contain_text("user:80351110224678912")  # what a subject looks like
        dialog.get_by_label("Subject").fill(CAT)
        dialog.get_by_role("button", name="Reset").click()
        expect(visitor.page.locator("#notices")).to_contain_text("reset (roll)")


def test_older_audit_entries_come_page_by_page(site: Site) -> None:
    with site.shared("ann") as visitor:
        visitor.page.route(
            "**/api/audit?*", lambda route: route.continue_(url=route.request.url.replace("limit=50", "limit=3"))
        )
        visitor.open("audit")
        rows = visitor.page.get_by_role("table", name="Entries").locator("tbody tr")
        expect(rows).to_have_count(3)
        first = rows.all_inner_texts()
        visitor.page.get_by_role("button", name="Load older entries").click()
        expect(rows).to_have_count(6)
        assert rows.all_inner_texts()[:3] == first


def test_right_in_one_guild_shows_the_audit_log_of_that_guild(site: Site) -> None:
    site.command("ping", "cat")
    with site.shared("bob") as visitor:
        visitor.open("audit")
        assert rooms_of(visitor.page) == ["Audit log", "Me"]
        expect(visitor.page.get_by_label("Guild")).to_have_value(GUILD)
        assert visitor.page.get_by_label("Guild").locator("option").count() == 1
        visitor.open(f"audit?guild={GUILD}0&actor=@cat")
        expect(visitor.page.get_by_label("Guild")).to_have_value(GUILD)
        row = visitor.page.get_by_role("row", name=re.compile("command.ping")).first

        def shown() -> bool:
            visitor.page.get_by_role("button", name="Filter").click()
            return row.is_visible()

        wait_for(shown, what="the entry")
        expect(row).to_contain_text("@cat")
        expect(row.get_by_role("cell").last).to_have_text(re.compile("^Details"), use_inner_text=True)  # no reason


def test_gained_and_lost_roles_show_at_once(site: Site) -> None:
    with site.shared("bob") as visitor:
        visitor.open("me")
        visitor.wait_until_live()
        role, run = visitor.page.locator(".person .muted"), visitor.page.get_by_role("button", name="Run expire-keys")
        site.call("auth", "grant", "operator", BOB, "--reason", "for a while")
        expect(visitor.page.get_by_role("navigation")).to_contain_text("Jobs")
        expect(role).to_contain_text("operator")
        site.call("auth", "grant", "viewer", BOB, "--reason", "for a while")
        expect(role).to_contain_text("viewer")
        visitor.page.get_by_role("link", name="Jobs").click()
        expect(run).to_be_visible()
        run.click()
        dialog = visitor.page.get_by_role("dialog")
        site.call("auth", "revoke", "operator", BOB, "--reason", "the while is over")  # the connection stays
        expect(run).to_have_count(0)
        expect(role).not_to_contain_text("operator")
        expect(dialog).to_be_visible()
        site.call("auth", "revoke", "viewer", BOB, "--reason", "the while is over")
        expect(visitor.page.get_by_role("main")).to_contain_text("You need the permission jobs:read to see this.")
        expect(visitor.page.locator("#notices")).to_contain_text("Your rights have changed.")
        expect(dialog).to_have_count(0)  # its room is locked
        assert "Jobs" not in rooms_of(visitor.page)


def test_page_recovers_after_the_realtime_server_was_killed(site: Site) -> None:
    with site.shared("ann") as visitor:
        visitor.open("state")
        visitor.wait_until_live()
        site.command("ping", "cat")
        expect(visitor.page.locator(".events li", has_text="/ping by cat").first).to_be_visible()
        visitor.page.evaluate(RECORD_CONNECTION)
        site.kill_realtime()
        expect(visitor.page.locator(".connection .word")).to_have_text("Reconnecting")
        expect(visitor.page.locator(".verdict.idle .words")).to_have_text(re.compile(r"Not known since \d\d:\d\d:\d\d"))
        expect(visitor.page.locator(".columns")).to_have_class(re.compile("past"))
        assert visitor.contrasts() == []
        site.command("about", "cat")
        wait_for(lambda: "ws://" not in site.policy(), what="that the page server misses it")
        with site.ann_elsewhere() as late:
            late.open("jobs")
            expect(late.page.locator(".connection")).to_contain_text("No realtime server runs")
            expect(late.page.get_by_role("main")).to_contain_text("Jobs are not live.")
            expect(late.page.get_by_role("main")).not_to_contain_text("There are no jobs.", use_inner_text=True)
            site.start_realtime()
            late.page.locator(".connection button").dispatch_event("click")
            late.wait_until_live()
        visitor.page.locator(".connection button").dispatch_event("click")  # it may hide itself at any moment
        expect(visitor.page.locator(".events li", has_text="/about by cat")).to_have_count(1)
        visitor.wait_until_live()
        expect(visitor.page.locator(".verdict .words")).not_to_contain_text("Not known")
        expect(visitor.page.locator(".past")).to_have_count(0)
        shown = visitor.page.evaluate("() => window.shown")
        assert any(re.search(r"^Recovered\s+\d+ events? caught up", text) for text in shown), shown


def test_state_that_cannot_be_read_is_marked_as_old_until_it_can(site: Site) -> None:
    """The server is there, but not the store behind it."""
    with site.ann_elsewhere() as visitor:
        sockets = relayed_sockets(visitor)
        since = (datetime.now(UTC) - timedelta(minutes=3)).isoformat()
        for room in ("jobs", "limits"):
            visitor.open(room)
            table, note = visitor.page.locator(".room table"), visitor.page.locator(".room .stale")
            expect(table).to_be_visible()
            sockets[-1].send(json.dumps({"type": "stale", "state": room, "since": since}))
            expect(note).to_have_text(
                re.compile(r"cannot be read at the moment; what is shown is from 3 min( \d+ s)? ago")
            )
            expect(table).to_be_visible()
            assert visitor.contrasts() == []
            sockets[-1].send(json.dumps({"type": "fresh", "state": room}))
            expect(note).to_have_count(0)
            expect(table).to_be_visible()


def test_lost_events_are_told_and_the_last_ones_loaded(site: Site) -> None:
    """As after a Redis that forgot them: the server is asked to go on from a place that it does not know."""
    with site.ann_elsewhere() as visitor:
        sockets = relayed_sockets(visitor)
        word, detail = visitor.page.locator(".connection .word"), visitor.page.locator(".connection .detail")
        visitor.open("state")
        visitor.wait_until_live()
        sockets[0].send(json.dumps({"type": "gap", "topic": "commands", "epoch": "forgotten", "offset": 1}))
        expect(detail).to_have_text("some events are lost")
        expect(word).to_have_text("Live")
        visitor.page.route("**/api/ticket", lambda route: route.abort())
        sockets[0].close(code=1012)
        expect(word).to_have_text("Reconnecting")
        site.command("about", "bob")
        visitor.page.unroute_all()
        visitor.page.locator(".connection button").dispatch_event("click")
        expect(visitor.page.locator(".events li", has_text="/about by bob")).to_have_count(1)
        expect(word).to_have_text("Live again")
        expect(detail).to_have_text("some events are lost")


def test_link_signs_in_and_sessions_of_everyone_are_live(site: Site) -> None:
    site.add_member("dora")  # of others, sessions of other tests may be there
    with site.shared("ann"), guest(site.browser, site.url) as visitor, site.shared() as other:
        visitor.page.goto(site.call("auth", "link", "--role", "admin").splitlines()[0])
        expect(visitor.page.get_by_role("main")).to_contain_text(f"signs you in to {site.bot} as admin, once")
        visitor.page.get_by_role("button", name="Sign in").click()
        visitor.wait_until_live()
        visitor.open("me")
        expect(visitor.page.locator(".identity")).to_contain_text("Signed in with a link of this machine")
        rows = visitor.page.get_by_role("table", name="Sessions").locator("tbody tr")
        expect(rows).to_have_count(1)  # of no one else
        expect(rows).to_contain_text(["link"])
        expect(rows).to_contain_text(["this one"])
        visitor.page.get_by_label("of everyone").check()
        expect(rows.filter(has_text="a link of ").filter(has_text="this one")).to_have_count(1)
        expect(rows.filter(has_text="ann")).not_to_have_count(0)
        expect(rows.filter(has_text="dora")).to_have_count(0)
        other.sign_in("dora")
        expect(rows.filter(has_text="dora")).not_to_have_count(0)  # without a reload
        other.page.goto(f"{site.url}/#/me")
        other.page.get_by_role("button", name="Sign out", exact=True).click()
        expect(other.page.get_by_role("heading", level=1)).to_have_text(site.bot)
        other.page.reload()
        expect(other.page.get_by_role("heading", level=1)).to_have_text(site.bot)  # also for a stranger
        expect(rows.filter(has_text="dora")).to_have_count(0)
        visitor.page.get_by_label("of everyone").uncheck()
        expect(rows).to_have_count(1)


def test_failures_say_what_to_do_next(site: Site) -> None:
    with site.shared() as stranger:
        stranger.page.route("**/api/me", lambda route: route.abort())
        stranger.open()
        expect(stranger.page.get_by_role("alert")).to_contain_text("The server cannot be reached.")
        stranger.page.unroute_all()
        stranger.page.get_by_role("button", name="Try again").click()
        expect(stranger.page.get_by_role("link", name="Sign in with Discord")).to_be_visible()
    with site.ann_elsewhere() as visitor:
        visitor.page.route_web_socket("**/realtime", lambda socket: socket.close(code=4504))
        visitor.page.route(
            "**/api/audit?*", lambda route: route.fulfill(status=503, json={"message": "Redis is away."})
        )
        visitor.open("audit")
        expect(visitor.page.get_by_role("alert")).to_contain_text("Redis is away.")
        expect(visitor.page.get_by_role("main")).not_to_contain_text("Loading…")
        expect(visitor.page.locator(".connection")).to_contain_text(
            "Close other tabs of this page, then connect again."
        )
        visitor.page.unroute_all()
        visitor.page.get_by_role("button", name="Try again").click()
        expect(visitor.page.get_by_role("table", name="Entries")).to_be_visible()
        for room in ("State", "Jobs", "Limits"):
            visitor.page.get_by_role("link", name=room).click()
            expect(visitor.page.locator(".room .empty").first).to_contain_text("Nothing was loaded yet")
            expect(visitor.page.get_by_role("table")).to_have_count(0)


def test_changes_wait_for_the_connection(site: Site) -> None:
    with site.ann_elsewhere() as visitor:
        sockets: list[WebSocketRoute] = []

        def pass_on(socket: WebSocketRoute) -> None:
            sockets.append(socket)
            if len(sockets) == 1:
                socket.connect_to_server()
            else:
                socket.close(code=4504)

        visitor.page.route_web_socket("**/realtime", pass_on)
        visitor.open("jobs")
        run = visitor.page.get_by_role("button", name="Run expire-keys")
        expect(run).to_be_enabled()
        sockets[0].close(code=1012)
        expect(run).to_be_disabled()
        expect(visitor.page.locator(".room .stale")).to_contain_text(re.compile(r"As of \d\d:\d\d:\d\d"))


def test_sign_out_everywhere_ends_the_other_browser(site: Site) -> None:
    with guest(site.browser, site.url) as here, guest(site.browser, site.url) as there:
        here.sign_in("cat")
        there.sign_in("cat")
        here.open("me")
        expect(here.page.get_by_role("table", name="Sessions").locator("tbody tr").nth(1)).to_be_visible()
        here.page.get_by_role("button", name="Sign out everywhere…").click()
        here.page.get_by_role("dialog").get_by_role("button", name="Sign out everywhere").click()
        expect(here.page.get_by_role("main")).to_contain_text("You are signed out everywhere.")
        expect(there.page.get_by_role("main")).to_contain_text("Your session has ended.")
        there.page.reload()
        expect(there.page.get_by_role("link", name="Sign in with Discord")).to_be_visible()


def test_one_session_is_ended_from_another(site: Site) -> None:
    with (
        site.shared("ann") as here,
        guest(site.browser, site.url, user_agent=f"Firefox/ Android {HOSTILE}") as there,
    ):
        there.sign_in("ann")
        here.open("me")
        here.page.get_by_role("button", name="End the session of Firefox on Android").click()
        here.page.get_by_role("dialog").get_by_label("Reason").fill("a lost phone")
        here.page.get_by_role("dialog").get_by_role("button", name="End it").click()
        expect(there.page.get_by_role("main")).to_contain_text("Your session has ended.")
        expect(here.page.get_by_role("button", name="End the session of Firefox on Android")).to_have_count(0)


def test_names_of_discord_users_are_text(site: Site) -> None:
    stranger_id = site.add_member(HOSTILE)
    with site.shared("ann") as visitor, guest(site.browser, site.url, user_agent=HOSTILE) as stranger:
        stranger.sign_in(HOSTILE)
        expect(stranger.page.locator(".identity .words")).to_have_text(HOSTILE)
        expect(stranger.page.get_by_role("table", name="Sessions")).to_contain_text(HOSTILE)
        visitor.open("state")
        visitor.wait_until_live()
        site.command("ping", stranger_id)
        expect(visitor.page.locator(".events li", has_text=f"/ping by {HOSTILE}").first).to_be_visible()
        visitor.open(f"audit?actor={stranger_id}&action=command.*")
        entries = visitor.page.get_by_role("table", name="Entries")

        def shown() -> bool:  # entries are written some time after the command
            visitor.page.get_by_role("button", name="Filter").click()
            return entries.count() == 1

        wait_for(shown, what="the entry")
        expect(entries).to_contain_text(f"@{HOSTILE}")
        assert visitor.page.locator("img[src=x]").count() == 0


def test_page_fits_a_phone(site: Site) -> None:
    with site.ann_elsewhere(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True) as visitor:

        def pass_on(socket: WebSocketRoute) -> None:
            """The addresses of the services become long ones."""
            server = socket.connect_to_server()
            server.on_message(lambda text: socket.send(str(text).replace("127.0.0.1", "a-long-name." * 6 + "example")))

        visitor.page.route_web_socket("**/realtime", pass_on)
        for room in ROOMS:
            visitor.open(room)
            expect(visitor.page.locator(".room table").first).to_be_visible()  # its data are there
            assert visitor.overflow() <= 0, room
        visitor.open("state")
        expect(visitor.page.locator(".group")).to_have_count(2)
        visitor.page.eval_on_selector_all(".group", "groups => groups.forEach(group => { group.open = true })")
        expect(visitor.page.locator(".tiles", has_text="a-long-name.").first).to_be_visible()
        assert visitor.overflow() <= 0
        visitor.open("jobs")
        visitor.page.get_by_role("button", name="Run expire-keys").tap()
        assert visitor.overflow() <= 0
        box = visitor.page.get_by_role("dialog").bounding_box()
        assert box
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 360


def test_all_text_has_the_contrast_of_wcag_aa(site: Site) -> None:
    def check(visitor: Guest, what: str) -> None:
        for scheme in ("light", "dark"):
            visitor.page.emulate_media(color_scheme=scheme)
            assert visitor.contrasts() == [], f"{what}, {scheme}"

    with site.shared() as stranger:
        stranger.open()
        expect(stranger.page.get_by_role("link", name="Sign in with Discord")).to_be_visible()
        check(stranger, "signed out")
    with site.shared("ann") as visitor:
        for room in ROOMS:
            visitor.open(room)
            expect(visitor.page.locator(".room table").first).to_be_visible()  # its data are there
            check(visitor, room)
        visitor.open("jobs")
        visitor.page.get_by_role("button", name="Run expire-keys").click()
        check(visitor, "dialog")
        visitor.page.keyboard.press("Escape")


def test_reduced_motion_stops_all_animations(site: Site) -> None:
    with site.shared() as visitor:
        visitor.page.emulate_media(reduced_motion="reduce")
        visitor.open()
        expect(visitor.page.get_by_role("link", name="Sign in with Discord")).to_be_visible()
        names = "() => [...document.querySelectorAll('*')].map((one) => getComputedStyle(one).animationName)"
        assert set(visitor.page.evaluate(names)) == {"none"}


def test_violation_of_the_policy_fails_a_test(site: Site) -> None:
    """The watch of the other tests works."""
    with guest(site.browser, site.url) as visitor:
        visitor.open()
        visitor.page.evaluate(f"() => {{ document.body.innerHTML = `{HOSTILE}` }}")
        wait_for_fault(visitor)
