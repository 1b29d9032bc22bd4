// Events and cancellation across processes: two APIs, two runners, real RabbitMQ and PostgreSQL.
// Whoever watches need not ask the process that took the job, and loses nothing when one dies.

#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <future>
#include <set>
#include <thread>
#include <vector>

#include "tests/api/event_client.h"
#include "tests/cluster/cluster.h"

namespace forkbox::tests {
namespace {

using namespace std::chrono_literals;
using forkbox::testing::EventClient;
using forkbox::testing::Transcript;
using nlohmann::json;

class ClusterEventsTest : public ::testing::Test {
 protected:
  static std::string Queue(std::uint16_t port, const std::string& code, int timeout_seconds = 60) {
    const Answer accepted = QueuePython(port, code, "", timeout_seconds);
    EXPECT_EQ(accepted.status, 202) << accepted.raw.body;
    return accepted.status == 202 ? accepted.body["job_id"].get<std::string>() : "";
  }
  static Answer Delete(std::uint16_t port, const std::string& id) {
    Answer answer;
    answer.raw = testing::Fetch(port, {"DELETE", "/executions/" + id, {}, ""});
    answer.status = answer.raw.status;
    answer.body = json::parse(answer.raw.body, nullptr, false);
    return answer;
  }
  static std::string StateOf(std::uint16_t port, const std::string& id) {
    const Answer answer = GetFrom(port, "/executions/" + id);
    return answer.status == 200 ? answer.body["state"].get<std::string>() : "";
  }
  static std::string Path(const std::string& id) { return "/executions/" + id + "/events"; }

  Cluster cluster_;
};

constexpr const char* kLines = R"(
import sys, time
for i in range(150):
    print("line", i, "\u20ac", flush=True)
    if i % 10 == 0: print("err", i, file=sys.stderr, flush=True)
    time.sleep(0.02)
)";

std::pair<std::string, std::string> LinesText() {
  std::string out;
  std::string err;
  for (int i = 0; i < 150; ++i) {
    out += "line " + std::to_string(i) + " \xE2\x82\xAC\n";
    if (i % 10 == 0) err += "err " + std::to_string(i) + "\n";
  }
  return {out, err};
}

// Accepted by one API, watched through the other, which is killed in the middle; the client goes
// back to the first with the last id it has.
TEST_F(ClusterEventsTest, EveryByteExactlyOnceThoughAnApiDies) {
  const auto first = cluster_.StartApi();
  auto second = cluster_.StartApi();
  const auto runner_one = cluster_.StartRunner();
  const auto runner_two = cluster_.StartRunner();
  const auto [out, err] = LinesText();
  const std::string id = Queue(PortOf(*first), kLines);

  EventClient other(PortOf(*first), Path(id));
  Transcript transcript;
  {
    EventClient client(PortOf(*second), Path(id));
    ASSERT_EQ(client.status(), 200);
    while (transcript.stdout_text.size() < out.size() / 3) {
      const auto event = client.Next();
      ASSERT_TRUE(event);
      transcript.Add(*event);
    }
    second->Signal(SIGKILL);
    while (const auto event = client.Next()) transcript.Add(*event);  // what was on its way
    EXPECT_FALSE(client.complete());
    EXPECT_EQ(second->Wait(), 128 + SIGKILL);
  }
  EXPECT_LT(transcript.stdout_text.size(), out.size());
  EventClient again(PortOf(*first), Path(id), transcript.last_id);
  while (const auto event = again.Next()) transcript.Add(*event);
  EXPECT_FALSE(transcript.gone_back);
  EXPECT_EQ(transcript.stdout_text, out);
  EXPECT_EQ(transcript.stderr_text, err);
  EXPECT_EQ(transcript.done["state"], "completed");

  const Transcript whole = other.ReadTo();
  EXPECT_EQ(whole.stdout_text, out);
  EXPECT_EQ(whole.stderr_text, err);
}

// Its runner dies: the claim expires, another one runs it, and the stream goes on to its end.
TEST_F(ClusterEventsTest, AStreamOutlivesARunner) {
  const auto api = cluster_.StartApi();
  auto runner = cluster_.StartRunner();
  const std::string id = Queue(PortOf(*api),
                               "import time, os\n"
                               "print(os.urandom(4).hex(), flush=True)\n"
                               "time.sleep(4)\n"
                               "print('end')\n");
  EventClient client(PortOf(*api), Path(id));
  Transcript transcript = client.ReadTo("stdout");
  const std::string before = transcript.stdout_text;
  EXPECT_EQ(before.size(), 9U);
  runner->Signal(SIGKILL);
  runner->Wait();
  const auto another = cluster_.StartRunner();
  while (const auto event = client.Next(60s)) transcript.Add(*event);
  EXPECT_TRUE(transcript.gone_back);  // it printed something else
  EXPECT_EQ(transcript.stdout_text.size(), 13U);
  EXPECT_NE(transcript.stdout_text.substr(0, 9), before);
  EXPECT_EQ(transcript.stdout_text, transcript.done["result"]["stdout"]);
}

TEST_F(ClusterEventsTest, CancelledInEveryStateThroughAnyApi) {
  const auto first = cluster_.StartApi();
  const auto second = cluster_.StartApi();
  const std::uint16_t port = PortOf(*second);

  const auto runner = cluster_.StartRunner({"--slots", "1"});
  const std::string running =
      Queue(PortOf(*first), "import time\nprint('half', flush=True)\ntime.sleep(50)");
  EXPECT_TRUE(Eventually([&] { return StateOf(port, running) == "running"; }));

  // Queued: the only slot is taken.
  const std::string queued = Queue(PortOf(*first), "print(1)");
  Answer answer = Delete(port, queued);
  EXPECT_EQ(answer.status, 200) << answer.raw.body;
  EXPECT_EQ(answer.body["state"], "cancelled");
  EXPECT_EQ(Delete(PortOf(*first), queued).status, 409);

  EventClient client(PortOf(*first), Path(running));
  EXPECT_EQ(client.ReadTo("stdout").stdout_text, "half\n");
  answer = Delete(port, running);
  EXPECT_EQ(answer.status, 200) << answer.raw.body;
  EXPECT_EQ(answer.body["state"], "cancelled");
  EXPECT_EQ(answer.body["result"]["stdout"], "half\n");
  const Transcript rest = client.ReadTo();
  EXPECT_EQ(rest.done["state"], "cancelled");
  EXPECT_FALSE(rest.gone_back);

  const std::string finished = Queue(PortOf(*first), "print(2)");
  EXPECT_TRUE(Eventually([&] { return StateOf(port, finished) == "completed"; }));
  answer = Delete(port, finished);
  EXPECT_EQ(answer.status, 409);
  EXPECT_EQ(answer.body["details"]["state"], "completed");
}

// Cancels that race the end: whatever was answered is what the row says, and it says one thing.
TEST_F(ClusterEventsTest, ACancelThatRacesTheEndIsAnsweredHonestly) {
  const auto first = cluster_.StartApi();
  const auto second = cluster_.StartApi();
  const auto runner = cluster_.StartRunner();
  for (int i = 0; i < 12; ++i) {
    const std::string id =
        Queue(PortOf(*first), "import time; time.sleep(" + std::to_string(0.01 * i) + ")");
    std::this_thread::sleep_for(60ms);
    auto one = std::async(std::launch::async, [&] { return Delete(PortOf(*first), id); });
    const Answer two = Delete(PortOf(*second), id);
    const std::string state = StateOf(PortOf(*first), id);
    for (const Answer& answer : {one.get(), two}) {
      if (answer.status == 200) {
        EXPECT_EQ(answer.body["state"], "cancelled");
        EXPECT_EQ(state, "cancelled");
      } else {
        EXPECT_EQ(answer.status, 409) << answer.raw.body;
        EXPECT_EQ(answer.body["details"]["state"], state);
      }
    }
  }
}

}  // namespace
}  // namespace forkbox::tests
