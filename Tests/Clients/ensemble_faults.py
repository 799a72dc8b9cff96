"""The leader of three servers and of five is killed, paused and cut off, over and over, while kazoo's, Curator's and bare clients work:
locks, ephemerals, numbered names, watches, registers, a queue. Each time the others have to elect another leader and answer before the
old one comes back. At the end all that the clients saw is judged, and every tree is read through its own server: all are equal, nothing
acknowledged is lost, the locks had one holder.

Which faults come is fixed; a seed, which is printed, says in which order, and what the clients do. ensemble_long.py goes on for longer,
with more faults.

    --seed N        another run             --rounds N     how often each fault comes (2)
"""
import random

from curator import compile_recipes, run_recipes
from ensemble import goes_on, under_load
from ensemble_history import History
from ensemble_kazoo import KazooLoad
from ensemble_long import replace_leader
from ensemble_servers import Ensemble
from harness import Check, expect

HOW = ("killed", "paused", "cut off")
# Seconds. Clients whose sessions shall last over all faults, also where a busy machine takes its time over each of them.
SESSION = 120
SETTINGS = {"maxSessionTimeout": str(1000 * SESSION)}


def faults(check, ensemble, chance, history, rounds):
    """Each fault of the leader, `rounds` times."""
    for _ in range(rounds):
        for how in chance.sample(HOW, len(HOW)):
            others = replace_leader(ensemble, how)
            goes_on(ensemble, history, others)
            ensemble.restore()
            goes_on(ensemble, history)


def one(check, servers, class_path):
    """All faults on `servers` servers, and the judgement."""
    where, arguments = " (%d servers)" % servers, check.arguments
    chance = random.Random(arguments.seed + servers)
    ensemble = Ensemble(check, servers, settings=SETTINGS, name="of-%d" % servers)
    history = History(ensemble, clients=3, seed=chance.randrange(1 << 30), rest=0.03)
    load, done = KazooLoad(ensemble, workers=2), []

    def all_faults():
        faults(check, ensemble, chance, history, arguments.rounds)
        done.append(True)

    with check.case("the leader is killed, paused and cut off under all clients" + where):
        ensemble.start()
        with under_load(check, ensemble, history, load):
            run_recipes(check, class_path, ensemble.hosts, all_faults, where, SESSION, limit=400)
            expect(done, "Curator ended before the faults had come")
    ensemble.discard()


def options(parser):
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 20))
    parser.add_argument("--rounds", type=int, default=2)


def main():
    with Check("ensemble-faults", options) as check:
        check.say("     seed %d" % check.arguments.seed)
        class_path = None
        with check.case("Recipes.java compiles"):
            class_path = compile_recipes(check)
        if class_path:
            check.together(*[lambda n=n: one(check, n, class_path) for n in (3, 5)])


if __name__ == "__main__":
    main()
