#include "runner/sandbox/why_not.h"

#include <gtest/gtest.h>

#include "schema/utf8.h"

namespace forkbox::sandbox {
namespace {

using schema::Outcome;
using schema::Reason;

Outcome Ended(Reason reason, std::optional<int> exit_code, std::optional<int> signal,
              std::string out, std::string err) {
  Outcome outcome;
  outcome.reason = reason;
  outcome.exit_code = exit_code;
  outcome.signal = signal;
  outcome.stdout_text = std::move(out);
  outcome.stderr_text = std::move(err);
  return outcome;
}

TEST(WhyNot, SaysHowItEndedAndWhatItSaid) {
  Outcome ours;
  ours.message = "descriptors ran out";
  Outcome compiled = Ended(Reason::kCompileFailed, 1, {}, "", "");
  compiled.compile_output = "main.c:1: error\nand more";
  const struct {
    const char* name;
    Outcome outcome;
    const char* why;
  } cases[] = {
      {"on stderr", Ended(Reason::kExited, 127, {}, "2", "no such file\nor so\n"),
       "it: exited with 127, no such file"},
      {"as a JVM does", Ended(Reason::kExited, 1, {}, "\nError occurred\nmore\n", ""),
       "it: exited with 1, Error occurred"},
      {"without a word", Ended(Reason::kExited, 3, {}, "\n", ""), "it: exited with 3"},
      {"another answer", Ended(Reason::kExited, 0, {}, "3\n", ""), "it: exited with 0, 3"},
      {"killed", Ended(Reason::kSignalled, {}, 11, "", ""), "it: signalled by 11"},
      {"too slow", Ended(Reason::kWallTimeout, {}, {}, "", "so far\n"), "it: wall_timeout, so far"},
      {"not at all", ours, "it: sandbox_failed, descriptors ran out"},
      {"not compiled", compiled, "it: compile_failed, main.c:1: error"},
  };
  for (const auto& c : cases) EXPECT_EQ(WhyNot("it", c.outcome), c.why) << c.name;
}

TEST(WhyNot, IsShortAndWhole) {
  std::string line = "x";
  while (line.size() < 100'000) line += "ü";
  const std::string why = WhyNot("it", Ended(Reason::kExited, 1, {}, "", line));
  EXPECT_LT(why.size(), 300U);
  EXPECT_TRUE(schema::IsValidUtf8(why));
}

}  // namespace
}  // namespace forkbox::sandbox
