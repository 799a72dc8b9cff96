"""Curator, the recipes of the Java world: java/Recipes.java, compiled here, on one server, across kill -9 and restart."""
import os
import subprocess

from harness import HERE, JARS, Check, equal

SOURCE = os.path.join(HERE, "java", "Recipes.java")


def compile_recipes(check):
    """The class path with Recipes.java on it."""
    classes, jars = os.path.join(check.work, "classes"), os.path.join(JARS, "*")
    built = subprocess.run(["javac", "-nowarn", "-proc:none", "-d", classes, "-cp", jars, SOURCE], capture_output=True, text=True)
    equal(0, built.returncode, built.stderr)
    return classes + os.pathsep + jars


def run_recipes(check, class_path, address, kill, where="", session=20, limit=240):
    """Runs all recipes against `address`; where they want a server killed and restarted, `kill()` is called. Sessions last `session`
    seconds without a server. `where` is told with the name of each case; after `limit` seconds the recipes are ended."""
    log = open(os.path.join(check.work, "curator.log"), "a")
    process = subprocess.Popen(
        ["java", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
         "-Dlog4j2.configurationFile=" + os.path.join(HERE, "java", "log4j2.properties"), "-cp", class_path, "Recipes", address, str(1000 * session)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, bufsize=1)

    def on_line(line):
        if line == "KILL":
            kill()
            process.stdin.write("\n")

    try:
        code = check.results(process, limit, on_line, where)
        if code:
            check.fail("Recipes.java" + where, "exit code %d" % code)
    finally:
        process.kill()                                         # when `kill()` has failed, it still waits for it
        process.wait()


def main():
    with Check("curator") as check:
        class_path = None
        with check.case("Recipes.java compiles"):
            class_path = compile_recipes(check)
        server = check.server().start()
        if class_path:
            run_recipes(check, class_path, server.address, server.restart)


if __name__ == "__main__":
    main()
