#include <string_view>
#include <utility>

#include "runner/sandbox/vm/guest/warm_up.h"

namespace forkbox::sandbox::vm {
namespace {

struct Program {
  std::string_view language;
  std::string_view code;
  schema::EntryKind entry = schema::EntryKind::kScript;
};

// In the order in which they are run. Each template of Python has some of its own: what a program
// mentions decides (manifest.json).
constexpr Program kPrograms[] = {
    {"python", "print(1 + 1)"},
    {"python", R"(
def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)

class Point:
    def __init__(self, x, y):
        self.x, self.y = x, y
    def __repr__(self):
        return f'<{self.x} {self.y:.3f}>'

words = {w: len(w) for w in 'some words of a text'.split()}
print(fib(12), sorted(words.items(), key=lambda p: p[1]), Point(1, 2.5))
print('%s %d' % ('x', 3), [i * i for i in range(10) if i % 2], set('abc') & set('bcd'))
with open('notes.txt', 'w') as f:
    f.write('a\nb\n')
print(open('notes.txt').read().splitlines())
try:
    {}['missing']
except KeyError as error:
    print('caught', repr(error))
)"},
    {"python", R"(
import json, math, re, sys, collections
data = json.loads('{"a": [1, 2.5, null, true], "b": "text"}')
print(json.dumps(data, indent=1), math.sqrt(2), re.findall(r'\w+', 'some words'))
print(collections.Counter('mississippi').most_common(2), file=sys.stderr)
for line in sys.stdin:
    print(line.strip()[::-1])
print(str(10**30), hex(255), 7 // 2, 2 ** 0.5, bytes([1, 2]), (1).bit_length())
)"},
    {"python", "import sys\nprint('before')\nraise ValueError('that failed')"},
    {"python", "return {'sum': sum(range(10)), 'list': [1, 2.5, None]}",
     schema::EntryKind::kFunction},
    {"python", "import sys\nx = [i for i in range(1000)]\nprint(sum(x), len(x))\nsys.exit(3)"},
    {"python", R"(
import datetime, random, itertools, hashlib, statistics, dataclasses, base64, string
@dataclasses.dataclass
class Item:
    name: str
    size: int = 1
print(datetime.datetime(2024, 1, 2).isoformat(), random.random() < 1, Item('x'))
print(hashlib.sha256(b'x').hexdigest(), statistics.mean([1, 2, 3]), base64.b64encode(b'abc'))
print(list(itertools.permutations('abc', 2))[:3], random.choice([1, 2, 3]) > 0)
)"},
    {"python", R"(
import asyncio, uuid, decimal, heapq, threading, queue, textwrap, traceback
async def main():
    await asyncio.sleep(0)
    return 5
print(asyncio.run(main()), len(str(uuid.uuid4())), decimal.Decimal('1.1') + 2)
t = threading.Thread(target=lambda: print('in a thread'))
t.start(); t.join()
try:
    1 / 0
except ZeroDivisionError:
    traceback.print_exc()
)"},
    {"python",
     "import subprocess\nprint(subprocess.run(['echo', 'hi'], capture_output=True).stdout)"},
    {"python", R"(
import numpy as np
a = np.arange(12, dtype=float).reshape(3, 4)
print(a @ a.T, a.mean(axis=0), np.random.rand(2).shape, np.linalg.norm(a))
)"},
    {"python", R"(
import numpy as np
x = np.linspace(0, 1, 50)
print(np.round(np.sin(x)[:5], 3), np.linalg.solve(np.eye(3) * 2, np.ones(3)), x.std())
print(np.sort(np.array([3, 1, 2])), np.where(x > 0.5)[0][:3])
)"},
    {"javascript", "console.log(1 + 1)"},
    {"javascript", R"(
const fs = require('fs');
class Shape { constructor(n) { this.n = n; } area() { return this.n ** 2; } }
const fib = (n) => (n < 2 ? n : fib(n - 1) + fib(n - 2));
console.log(fib(15), new Shape(3).area(), [3, 1, 2].sort(), { a: [1, { b: 2 }] });
console.log(JSON.stringify({ x: [1, 2.5, null], y: 'text' }), 'a,b'.split(','), `t${1 + 1}`);
console.error(new Map([[1, 2]]), Math.max(...[1, 2, 3]), /(\w+)/.exec('some words')[1]);
fs.writeFileSync('notes.txt', 'hello');
console.log(fs.readFileSync('notes.txt', 'utf8').length);
)"},
    {"javascript", R"(
const sleep = (ms) => new Promise((r) => setTimeout(r, ms));
(async () => {
  await sleep(1);
  const all = await Promise.all([1, 2].map(async (x) => x * 2));
  console.log(all.reduce((a, b) => a + b), [...new Set([1, 1, 2])], Object.entries({ a: 1 }));
  process.stdin.on('data', (d) => console.log(String(d)));
})();
)"},
    {"javascript", R"(
const crypto = require('crypto');
console.log(crypto.createHash('sha256').update('x').digest('hex'), crypto.randomBytes(4).length);
console.log(Math.random() < 1, new Date(0).toISOString(), parseInt('12', 10), 10n ** 20n);
function thrower() { throw new Error('that failed'); }
try { thrower(); } catch (e) { console.log(e.message); }
thrower();
)"},
    {"bash", "echo $((1 + 1))"},
    {"bash", R"(
for i in 1 2 3; do echo "line $i"; done | sort -r | head -n 2
f() { local x=$1; echo "${x^^} ${#x}"; }
f word
declare -A map=([a]=1 [b]=2)
for k in "${!map[@]}"; do echo "$k=${map[$k]}"; done
echo text > file.txt; cat file.txt; ls -l | wc -l; rm file.txt
)"},
    {"bash", R"(
set -e
read -r line || true
printf '%s\n' a b c | grep -n b | sed 's/b/x/' | tr x y | awk -F: '{print $2, $1}'
x=$(seq 1 20 | paste -sd+)
echo "$x" | cut -c1-5; date +%Y > /dev/null; [[ abc =~ b ]] && echo matched
while read -r w; do echo "<$w>"; done <<< "here"
false
)"},
    {"go", "package main\n\nimport \"fmt\"\n\nfunc main() { fmt.Println(1 + 1) }\n"},
    {"go", R"(package main

import (
	"fmt"
	"os"
	"sort"
	"strings"
)

type item struct {
	name string
	size int
}

func main() {
	items := []item{{"b", 2}, {"a", 1}}
	sort.Slice(items, func(i, j int) bool { return items[i].name < items[j].name })
	done := make(chan int)
	go func() { done <- len(strings.Fields("some words")) }()
	fmt.Printf("%v %d %s\n", items, <-done, strings.Repeat("x", 3))
	if len(os.Args) > 5 {
		os.Exit(3)
	}
}
)"},
};

}  // namespace

std::vector<schema::Source> WarmUpPrograms(const LanguageStatus& language) {
  std::vector<schema::Source> programs;
  for (const Program& program : kPrograms) {
    if (program.language != language.id) continue;
    schema::Source& source = programs.emplace_back();
    source.code = program.code;
    source.entry = program.entry;
    source.stdin_data = "first line\nsecond line\n";
  }
  return programs;
}

}  // namespace forkbox::sandbox::vm
