#!/bin/sh
# Makes what compiling Java in a sandbox takes, once for each build: our way into javac, and an
# archive of the classes that a compile loads (class data sharing), which halves what one costs. And
# the same of interactive sessions, which are JShell.
#
#   scripts/prepare-java.sh DIR          DIR appears in sandboxes as /opt/forkbox/java
set -eu
mkdir -p "$1"
dir=$(cd "$1" && pwd)
cd "$(dirname "$0")/../runner/languages/java/build"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
rm -f "$dir"/*.class "$dir/javac.jsa" "$dir/session.jsa"
/usr/bin/javac -XDignore.symbol.file -d "$dir" ForkboxJavac.java ForkboxSession.java

# The class path is a part of an archive and must be the same when it is used, where ours has another
# name: so it is made without one, and has the classes of the JDK only.
cat >"$work/Main.java" <<'EOF'
import java.util.*;
import java.util.function.*;
import java.util.stream.*;

public class Main {
  record Point(int x, int y) {}
  interface Shape { double area(); }
  static <T extends Comparable<T>> T most(List<T> all) {
    return all.stream().max(Comparator.naturalOrder()).orElseThrow();
  }
  public static void main(String[] args) {
    Map<String, List<Integer>> map = new TreeMap<>();
    for (String s : args) map.computeIfAbsent(s, k -> new ArrayList<>()).add(s.length());
    Shape shape = () -> 2.0;
    System.out.println(most(List.of(1, 2)) + " " + map + new Point(1, 2) + shape.area());
    System.out.println(IntStream.range(0, 3).boxed().map(i -> "n" + i).collect(Collectors.joining(",")));
    switch (args.length) { case 0 -> System.out.println("none"); default -> throw new IllegalStateException(); }
  }
}
EOF
(cd "$work" && /usr/bin/java -XX:ArchiveClassesAtExit="$work/javac.jsa" -XX:+UseSerialGC \
  -m jdk.compiler/com.sun.tools.javac.Main -proc:none -d classes Main.java) >"$work/log" 2>&1 || {
  cat "$work/log" >&2
  exit 1
}

cat >"$work/cells.jsh" <<'EOF'
import java.util.*;
int x = 1;
var list = List.of(1, 2);
list.stream().map(i -> i + x).toList()
record P(int a) {}
class C { int f() { return 1; } }
int f(int a) { return a; }
f(1)
int y = ;
for (int i = 0; i < 2; ++i) { x += i; }
throw new IllegalStateException("x");
/exit
EOF
(cd "$work" && HOME="$work" /usr/bin/java -XX:ArchiveClassesAtExit="$work/session.jsa" \
  -XX:+UseSerialGC -Djava.util.prefs.userRoot="$work" \
  -m jdk.jshell/jdk.internal.jshell.tool.JShellToolProvider --execution local cells.jsh) \
  >"$work/log" 2>&1 </dev/null || {
  cat "$work/log" >&2
  exit 1
}
mv "$work/session.jsa" "$dir/session.jsa"
# Last, and whole or not at all: the language is there when this file is.
mv "$work/javac.jsa" "$dir/javac.jsa"
