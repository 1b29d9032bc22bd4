// `forkbox serve` as a process: its start, its end, and what is left when it is killed.

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/log.h"
#include "cli/http_client.h"
#include "store/store.h"
#include "tests/cli/forkbox_process.h"

namespace forkbox::tests {
namespace {

using namespace std::chrono_literals;

class ServeTest : public ::testing::Test {
 protected:
  std::unique_ptr<ForkboxProcess> Start(std::vector<std::string> flags = {}) {
    std::vector<std::string> args{"serve", "--listen", "127.0.0.1:0", "--data-dir", "var"};
    args.insert(args.end(), flags.begin(), flags.end());
    auto server = std::make_unique<ForkboxProcess>(directory_.path(), args);
    url_ = server->WaitForUrl();
    EXPECT_NE(url_, "") << server->Stderr();
    return server;
  }

  Result<cli::HttpResponse> Post(const std::string& code, const std::string& key = "") {
    const nlohmann::json body{{"code", code}, {"language", "python"}, {"timeout_seconds", 100}};
    return cli::PostJson(url_ + "/v1/exec", key, body.dump(), 120s);
  }

  std::unique_ptr<store::Store> OpenStore() {
    auto store =
        store::OpenStore("sqlite:" + (directory_.path() / "var/forkbox.db").string(), Log::Null());
    EXPECT_TRUE(store) << store.error().message;
    return store ? std::move(*store) : nullptr;
  }
  // Waits until the database says so.
  bool WaitForRows(std::uint64_t queued, std::uint64_t running) {
    const auto store = OpenStore();
    for (int i = 0; i < 3'000; ++i) {
      const auto counts = store->executions().CountUnfinished();
      if (counts && counts->interactive.queued == queued &&
          counts->interactive.running == running) {
        return true;
      }
      std::this_thread::sleep_for(10ms);
    }
    return false;
  }
  // Of every kind of unfinished row, as if all claims had expired.
  std::vector<store::ExecutionRecord> Unfinished(store::Store& store) {
    constexpr std::int64_t kEver = std::numeric_limits<std::int64_t>::max();
    std::vector<store::ExecutionRecord> records;
    for (const auto lane : {schema::Priority::kInteractive, schema::Priority::kBackground}) {
      const auto rows = store.executions().FindUndispatched(lane, kEver, kEver, 1'000);
      EXPECT_TRUE(rows);
      for (const auto& row : *rows) {
        records.push_back(*store.executions().Get(row.id, std::nullopt));
      }
    }
    return records;
  }

  TemporaryDirectory directory_;
  std::string url_;
};

TEST_F(ServeTest, ServesAndPrintsACurlLineThatWorksWhenPasted) {
  const auto server = Start();
  const std::string text = server->Stdout();
  const std::size_t curl = text.find("  curl ");
  ASSERT_NE(curl, std::string::npos) << text;
  const std::string reply = (directory_.path() / "reply").string();
  const std::string command = text.substr(curl, text.find_last_not_of('\n') + 1 - curl);
  ASSERT_EQ(std::system((command + " >" + reply).c_str()), 0) << text;
  const auto json = nlohmann::json::parse(std::ifstream(reply), nullptr, false);
  ASSERT_TRUE(json.is_object());
  EXPECT_EQ(json["result"]["stdout"], "2\n");
}

TEST_F(ServeTest, RunsFilesForTheRunCommand) {
  const auto server = Start();
  std::ofstream(directory_.path() / "a.py") << "import sys; print('there'); sys.exit(5)";
  ForkboxProcess run(directory_.path(), {"run", "--url", url_ + "/", "a.py"});
  EXPECT_EQ(run.Wait(), 5) << run.Stderr();
  EXPECT_EQ(run.Stdout(), "there\n");
}

TEST_F(ServeTest, WantsAKeyOnceThereIsOne) {
  ForkboxProcess create(directory_.path(), {"keys", "create", "--data-dir", "var"});
  ASSERT_EQ(create.Wait(), 0);
  std::string key = create.Stdout();
  key.pop_back();
  const auto server = Start();
  EXPECT_EQ(Post("print(1)")->status, 401);
  EXPECT_EQ(Post("print(1)", "wrong")->status, 401);
  EXPECT_EQ(Post("print(1)", key)->status, 200);
  server->Signal(SIGTERM);
  EXPECT_EQ(server->Wait(), 0);
  EXPECT_EQ(server->Stderr().find(key), std::string::npos);
}

// Without a restart: the first key turns keys on, a rotated one is good at once, a revoked one bad.
TEST_F(ServeTest, NoticesKeysThatTheCommandLineMakesAndEnds) {
  const auto server = Start();
  EXPECT_EQ(Post("print(1)")->status, 200);
  const auto run = [&](std::vector<std::string> args) {
    ForkboxProcess process(directory_.path(), std::move(args));
    EXPECT_EQ(process.Wait(), 0) << process.Stderr();
    const std::string out = process.Stdout();
    return out.substr(0, out.find('\n'));
  };
  const auto soon = [&](const std::string& key, int status) {
    for (int i = 0; i < 1'000; ++i) {
      if (Post("print(1)", key)->status == status) return true;
      std::this_thread::sleep_for(10ms);
    }
    return false;
  };
  const std::string first = run({"keys", "create"});
  EXPECT_EQ(Post("print(1)", first)->status, 200);
  EXPECT_TRUE(soon("", 401));
  EXPECT_NE(server->Stderr().find("auth.enabled"), std::string::npos);
  const std::string second = run({"keys", "create", "--permissions", "read_only"});
  EXPECT_EQ(Post("print(1)", second)->status, 403);
  const auto all = nlohmann::json::parse(run({"keys", "list", "--json"}));
  ASSERT_EQ(all.size(), 2U);
  const std::string third = run({"keys", "rotate", all[1]["id"]});
  EXPECT_EQ(Post("print(1)", third)->status, 200);
  EXPECT_TRUE(soon(first, 401));
  for (const std::string& key : {first, second, third}) {
    EXPECT_EQ(server->Stderr().find(key), std::string::npos);
  }
  server->Signal(SIGTERM);
  EXPECT_EQ(server->Wait(), 0);
}

TEST_F(ServeTest, ABrokenKeysFileStopsTheStart) {
  std::ofstream(directory_.path() / "api_keys.json") << "{";
  ForkboxProcess server(directory_.path(), {"serve", "--listen", "127.0.0.1:0"});
  EXPECT_NE(server.Wait(), 0);
  EXPECT_NE(server.Stderr().find("--keys-file"), std::string::npos) << server.Stderr();
}

TEST_F(ServeTest, VirtualMachinesThatCannotBeHadAreRefusedOrSaid) {
  const std::string image = directory_.path() / "no-image";
  struct Case {
    std::vector<std::string> flags;
    int exit_code;
  };
  for (const Case& c : {Case{{"--vm", "on", "--vm-image", image}, 1},
                        Case{{"--vm", "auto", "--vm-image", image, "--isolation", "vm"}, 2}}) {
    std::vector<std::string> args{"serve", "--listen", "127.0.0.1:0"};
    args.insert(args.end(), c.flags.begin(), c.flags.end());
    ForkboxProcess process(directory_.path(), args);
    EXPECT_EQ(process.Wait(), c.exit_code) << process.Stderr();
    EXPECT_NE(process.Stderr().find("forkbox vm build"), std::string::npos) << process.Stderr();
  }
  // Welcome and not needed: it serves, and says why not.
  const auto server = Start({"--vm", "auto", "--vm-image", image});
  EXPECT_NE(server->Stdout().find("virtual machines: failed: "), std::string::npos)
      << server->Stdout();
  EXPECT_NE(server->Stderr().find("vm.unavailable"), std::string::npos);
  EXPECT_EQ(Post("print(1)")->status, 200);
}

TEST_F(ServeTest, RefusesToBeOpenToTheWorldWithoutKeys) {
  ForkboxProcess server(directory_.path(), {"serve", "--listen", "0.0.0.0:0"});
  EXPECT_EQ(server.Wait(), 2);
  EXPECT_EQ(server.Stdout(), "");
  EXPECT_NE(server.Stderr().find("key"), std::string::npos) << server.Stderr();
}

TEST_F(ServeTest, SaysThatTheDataDirectoryOrThePortIsTaken) {
  const auto server = Start();
  ForkboxProcess same_data(directory_.path(), {"serve", "--listen", "127.0.0.1:0"});
  EXPECT_EQ(same_data.Wait(), 1);
  EXPECT_NE(same_data.Stderr().find("in use by another forkbox"), std::string::npos);
  ForkboxProcess same_port(directory_.path(),
                           {"serve", "--listen", url_.substr(7), "--data-dir", "other"});
  EXPECT_EQ(same_port.Wait(), 1);
  EXPECT_NE(same_port.Stderr().find("in use by another program"), std::string::npos);
  EXPECT_EQ(Post("print(1)")->status, 200) << "and the first one did not mind";
}

// `make run` in a clone below /root: the service user may not walk there.
TEST_F(ServeTest, WorksWhereTheServiceUserMayNotWalk) {
  if (::geteuid() != 0) GTEST_SKIP() << "the service user is only used when root starts it";
  ASSERT_EQ(::chown(directory_.path().c_str(), 0, 0), 0);
  ASSERT_EQ(::chmod(directory_.path().c_str(), 0700), 0);
  const auto server = Start();
  EXPECT_EQ(Post("print(1)")->status, 200);
  EXPECT_TRUE(std::filesystem::exists(directory_.path() / "var/forkbox.db"));
}

TEST_F(ServeTest, SigtermLetsRunningAndQueuedCallsEnd) {
  const auto server = Start({"--slots", "2"});
  std::vector<Result<cli::HttpResponse>> replies(5);
  {
    std::vector<std::jthread> clients;
    for (auto& reply : replies) {
      clients.emplace_back([&] { reply = Post("import time; time.sleep(1); print('whole')"); });
    }
    ASSERT_TRUE(WaitForRows(3, 2));
    server->Signal(SIGTERM);
  }
  for (const auto& reply : replies) {
    ASSERT_TRUE(reply) << reply.error().message;
    EXPECT_EQ(reply->status, 200);
    EXPECT_NE(reply->body.find("whole"), std::string::npos);
  }
  EXPECT_EQ(server->Wait(), 0) << server->Stderr();
  EXPECT_TRUE(Unfinished(*OpenStore()).empty());
}

// Neither patience nor a result: what did not end is queued as if it had never been started, and
// the next server runs it.
TEST_F(ServeTest, SigtermRequeuesWhatDoesNotEndInTime) {
  auto server = Start({"--slots", "2", "--drain-seconds", "0"});
  {
    std::vector<std::jthread> clients;
    for (int i = 0; i < 3; ++i) {
      clients.emplace_back([&] {
        const auto reply = Post("import time; time.sleep(4); print('whole')");
        EXPECT_TRUE(reply && reply->status == 503) << "the client is told";
      });
    }
    ASSERT_TRUE(WaitForRows(1, 2));
    server->Signal(SIGTERM);
    EXPECT_EQ(server->Wait(60s), 0) << server->Stderr();
  }
  const auto store = OpenStore();
  const auto left = Unfinished(*store);
  ASSERT_EQ(left.size(), 3U);
  for (const auto& record : left) {
    EXPECT_EQ(record.state, schema::State::kQueued);
    EXPECT_EQ(record.attempts, 0);
  }
  server = Start({"--slots", "3"});
  for (int i = 0; i < 6'000 && !Unfinished(*store).empty(); ++i) std::this_thread::sleep_for(10ms);
  for (const auto& record : left) {
    EXPECT_EQ(store->executions().Get(record.execution.id, std::nullopt)->state,
              schema::State::kCompleted);
  }
}

TEST_F(ServeTest, ASecondSignalDoesNotWait) {
  const auto server = Start({"--drain-seconds", "600"});
  std::jthread client([&] { (void)Post("import time; time.sleep(90)"); });
  ASSERT_TRUE(WaitForRows(0, 1));
  server->Signal(SIGTERM);
  EXPECT_EQ(server->Wait(2s), -1) << "it waits for the program";
  server->Signal(SIGINT);
  EXPECT_EQ(server->Wait(30s), 0);
}

// The story of a crash: two run, four wait, and the process is gone between two instructions. The
// next one runs all six, each to one result.
TEST_F(ServeTest, AfterKillMinusNineEverythingRunsOnceToOneResult) {
  auto server = Start({"--slots", "2"});
  {
    std::vector<std::jthread> clients;
    for (int i = 0; i < 6; ++i) {
      clients.emplace_back([&] { (void)Post("import time; time.sleep(2); print('whole')"); });
    }
    ASSERT_TRUE(WaitForRows(4, 2));
    server->Signal(SIGKILL);
    EXPECT_EQ(server->Wait(), 128 + SIGKILL);
  }
  const auto store = OpenStore();
  const auto left = Unfinished(*store);
  ASSERT_EQ(left.size(), 6U);

  server = Start({"--slots", "2"});
  for (int i = 0; i < 6'000 && !Unfinished(*store).empty(); ++i) std::this_thread::sleep_for(10ms);
  for (const auto& before : left) {
    const auto after = store->executions().Get(before.execution.id, std::nullopt);
    ASSERT_TRUE(after);
    EXPECT_EQ(after->state, schema::State::kCompleted);
    EXPECT_EQ(after->attempts, before.state == schema::State::kRunning ? 2 : 1);
    ASSERT_TRUE(after->outcome);
    EXPECT_EQ(after->outcome->stdout_text, "whole\n");
  }
  EXPECT_EQ(Post("print('next')")->status, 200);
}

}  // namespace
}  // namespace forkbox::tests
