"""An ensemble under faults for as long as one likes: scripts/test --only ensemble-long --minutes 30 (in short: ensemble_faults.py)

Servers are killed, paused, wiped, cut off (both ways, one way, in pairs, over and over), reset and delayed, all from one seed, while
clients work: registers with compare and set, names that the server numbers, a queue, kazoo's locks, ephemerals and watches. After
each storm everything is healed, the servers have to form an ensemble and answer again, and then all that the clients saw is judged:
linearizability, the order of zxids, nothing lost, nothing done twice, all trees and digests equal. Between two storms Curator's recipes
run across one fault of the leader.

    --minutes N     how long (1)            --servers N    voters (3; an observer besides)
    --seed N        another run             --no-curator   without the recipes
"""
import random
import time

import wire
from curator import compile_recipes, run_recipes
from ensemble import goes_on, under_load
from ensemble_history import History
from ensemble_kazoo import KazooLoad
from ensemble_servers import Ensemble
from harness import Check

STORM_SECONDS = 25
# Longer than syncLimit, so that a leader that is not heard of is given up.
GIVEN_UP = 3.0


class Faults:
    """What is done to the servers. Each fault says what it does, and leaves the ensemble to be healed by `heal`."""

    def __init__(self, ensemble, chance):
        self.ensemble, self.chance, self.history = ensemble, chance, None
        self.all = [self.kill_leader] * 3 + [self.pause_leader] * 2 + [self.cut_leader] * 3 + [
            self.kill_follower, self.kill_observer, self.blink, self.deafen_leader, self.mute_leader, self.cut_pair, self.flap, self.reset,
            self.delay, self.kill_minority, self.kill_all, self.wipe_follower, self.pause_follower, self.kill_successors, self.cut_and_kill]
        self.done = {}

    def one(self):
        """One fault, then a whole ensemble again that answers; returns what it was."""
        fault = self.chance.choice(self.all)
        self.done[fault.__name__] = self.done.get(fault.__name__, 0) + 1
        fault()
        self.heal()
        return fault.__name__

    def heal(self):
        self.ensemble.restore()
        goes_on(self.ensemble, self.history)

    def follower(self):
        return self.chance.choice(self.ensemble.followers)

    def rest(self, least=0.0, most=2.0):
        time.sleep(self.chance.uniform(least, most))

    def kill_leader(self):
        self.ensemble.leader.kill9()
        self.rest()

    def kill_follower(self):
        self.follower().kill9()
        self.rest()

    def kill_observer(self):
        self.ensemble.observers[0].kill9()
        self.rest()

    def kill_minority(self):
        voters = self.ensemble.voters
        for member in self.chance.sample(voters, (len(voters) - 1) // 2):
            member.kill9()
        self.rest(1, 3)

    def kill_all(self):
        """As when the power goes, all at once."""
        for member in self.ensemble.running:
            member.process.kill()
        for member in self.ensemble:
            member.kill9()
        self.rest(0, 1)

    def kill_successors(self):
        """Whoever leads is killed, twice, each restarted a little later."""
        for _ in range(2):
            leader = self.ensemble.leader
            leader.kill9()
            self.rest(0, 0.5)
            leader.launch()
            self.ensemble.wait_formed()

    def pause_leader(self):
        leader = self.ensemble.leader
        leader.pause()
        self.rest(GIVEN_UP, GIVEN_UP + 2)
        leader.resume()
        self.rest()

    def pause_follower(self):
        follower = self.follower()
        follower.pause()
        self.rest(GIVEN_UP, GIVEN_UP + 1)
        follower.resume()

    def blink(self):
        """Pauses that are too short to be given up for."""
        for _ in range(4):
            member = self.chance.choice(self.ensemble.running)
            member.pause()
            self.rest(0, 0.5)
            member.resume()

    def cut_leader(self):
        self.ensemble.links.cut(self.ensemble.leader.sid)
        self.rest(GIVEN_UP, GIVEN_UP + 3)

    def cut_and_kill(self):
        """The leader is cut off, and killed before it is connected again."""
        leader = self.ensemble.leader
        self.ensemble.links.cut(leader.sid)
        self.rest(0, GIVEN_UP)
        leader.kill9()
        self.ensemble.wait_formed()
        self.ensemble.links.heal()

    def mute_leader(self):
        """What the leader sends does not arrive; it hears everybody."""
        leader = self.ensemble.leader
        for member in self.ensemble:
            if member is not leader:
                self.ensemble.links.block(leader.sid, member.sid)
        self.rest(GIVEN_UP, GIVEN_UP + 3)

    def deafen_leader(self):
        leader = self.ensemble.leader
        for member in self.ensemble:
            if member is not leader:
                self.ensemble.links.block(member.sid, leader.sid)
        self.rest(GIVEN_UP, GIVEN_UP + 3)

    def cut_pair(self):
        """The leader and one follower do not reach each other; all others reach both."""
        self.ensemble.links.cut_pair(self.ensemble.leader.sid, self.follower().sid)
        self.rest(GIVEN_UP, GIVEN_UP + 3)

    def flap(self):
        for _ in range(6):
            self.ensemble.links.cut(self.chance.choice(self.ensemble.voters).sid)
            self.rest(0.05, 0.7)
            self.ensemble.links.heal()
            self.rest(0.05, 0.5)

    def reset(self):
        """Connections break, now of one pair, now of another."""
        for _ in range(5):
            a, b = self.chance.sample(self.ensemble.voters, 2)
            self.ensemble.links.reset(a.sid, b.sid)
            self.rest(0.05, 0.5)

    def delay(self):
        """Uneven delays, in which messages of different pairs overtake each other."""
        for a in self.ensemble:
            for b in self.ensemble:
                if a is not b:
                    self.ensemble.links.delay(a.sid, b.sid, self.chance.choice((0, 0.01, 0.05, 0.2)))
        self.rest(2, 4)

    def wipe_follower(self):
        """A disk is lost, once everybody has everything: one copy fewer is what a quorum survives."""
        follower = self.follower()
        follower.kill9()
        follower.wipe()
        follower.launch().serving()


def storm(check, ensemble, faults, number, seconds):
    """Faults for `seconds`, then the judgement; one case."""
    with check.case("storm %d" % number):
        clear(ensemble)
        history = History(ensemble, clients=5, seed=faults.chance.randrange(1 << 30))
        load, done, end = KazooLoad(ensemble), [], time.monotonic() + seconds
        faults.history = history
        try:
            with under_load(check, ensemble, history, load):
                time.sleep(0.5)
                while time.monotonic() < end:
                    done.append(faults.one())
                    faults.rest(0, 1)
        finally:
            check.say("     faults: " + ", ".join(done))


def clear(ensemble):
    """An empty tree again, so that it stays small and names are free."""
    leader = ensemble.restore()
    connection = leader.super_user(timeout=20000, wait=30)
    for path in sorted(leader.tree(), reverse=True):
        if path != "/" and not path.startswith("/zookeeper"):
            connection.request(wire.DELETE, wire.string(path) + b"\xff\xff\xff\xff")
            connection.reply()
    connection.close()


def replace_leader(ensemble, how):
    """The leader is `killed`, `paused` or `cut off` until the others have another one; returns those, with the fault still there."""
    leader = ensemble.leader
    if how == "killed":
        leader.kill9()
    elif how == "paused":
        leader.pause()
    else:
        ensemble.links.cut(leader.sid)
    others = [m for m in ensemble if m is not leader]
    ensemble.wait_formed(others)
    return others


def recipes(check, ensemble, class_path, how):
    """Curator across one fault of the leader, from which the ensemble has recovered when they go on."""
    check.say("     Curator, the leader is to be %s" % how)
    clear(ensemble)

    def fault():
        replace_leader(ensemble, how)
        ensemble.restore()

    run_recipes(check, class_path, ensemble.hosts, fault)


def options(parser):
    parser.add_argument("--minutes", type=float, default=1)
    parser.add_argument("--servers", type=int, default=3)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 20))
    parser.add_argument("--no-curator", action="store_true")


def main():
    with Check("ensemble-long", options) as check:
        arguments = check.arguments
        check.say("     seed %d, %d servers and an observer, %g minutes" % (arguments.seed, arguments.servers, arguments.minutes))
        end, class_path = time.monotonic() + 60 * arguments.minutes, None
        if not arguments.no_curator:
            with check.case("Recipes.java compiles"):
                class_path = compile_recipes(check)
        ensemble = Ensemble(check, arguments.servers, observers=1)
        ensemble.start()
        faults, number = Faults(ensemble, random.Random(arguments.seed)), 0
        while number == 0 or time.monotonic() < end:
            number += 1
            storm(check, ensemble, faults, number, min(STORM_SECONDS, max(5, end - time.monotonic())))
            if class_path and (number == 1 or time.monotonic() < end):
                recipes(check, ensemble, class_path, ("killed", "paused", "cut off")[number % 3])
        check.say("     faults of all storms: " + ", ".join("%s %d" % item for item in sorted(faults.done.items())))


if __name__ == "__main__":
    main()
