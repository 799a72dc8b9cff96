"""Curator, the recipes of the Java world: java/Recipes.java, compiled here, on one server, across kill -9 and restart."""
import os
import subprocess

from harness import HERE, JARS, Check, equal

SOURCE = os.path.join(HERE, "java", "Recipes.java")


def main():
    with Check("curator") as check:
        classes = os.path.join(check.work, "classes")
        jars = os.path.join(JARS, "*")
        with check.case("Recipes.java compiles"):
            built = subprocess.run(["javac", "-nowarn", "-proc:none", "-d", classes, "-cp", jars, SOURCE],
                                   capture_output=True, text=True)
            equal(0, built.returncode, built.stderr)
        server = check.server().start()
        log = open(os.path.join(check.work, "curator.log"), "w")
        process = subprocess.Popen(
            ["java", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
             "-Dlog4j2.configurationFile=" + os.path.join(HERE, "java", "log4j2.properties"),
             "-cp", classes + os.pathsep + jars, "Recipes", server.address],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, bufsize=1)

        def on_line(line):
            if line == "KILL":
                server.restart()
                process.stdin.write("\n")

        code = check.results(process, 240, on_line)
        if code:
            check.fail("Recipes.java", "exit code %d" % code)


if __name__ == "__main__":
    main()
