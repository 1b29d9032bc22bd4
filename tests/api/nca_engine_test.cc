// The NCA dialect with nothing faked: real store, queue, worker and sandboxes behind real sockets.
// What each program must become is in the table; the member-by-member tests are nca_test.cc.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>

#include "api/api_server.h"
#include "api/execution_service.h"
#include "api/result_document.h"
#include "queue/embedded_broker.h"
#include "runner/sandbox/process_driver.h"
#include "runner/worker.h"
#include "store/store.h"
#include "store/testing_directory.h"
#include "tests/api/http_client.h"

namespace forkbox::api {
namespace {

using forkbox::testing::Fetch;
using forkbox::testing::HttpAnswer;
using nlohmann::json;
using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr const char* kExecute = "/v1/code/execute/python";

// Everything of one installation, in the order in which it comes up.
struct Installation {
  SystemClock clock;
  store::TestDirectory directory;
  std::unique_ptr<sandbox::ProcessDriver> driver;
  std::unique_ptr<store::Store> store;
  queue::EmbeddedBroker broker{{}};
  Metrics metrics;
  Authenticator authenticator{{}};
  webhook::AddressGuard guard;
  std::unique_ptr<runner::Worker> worker;
  std::unique_ptr<ExecutionService> service;
  std::unique_ptr<ApiServer> server;

  Installation() {
    ::signal(SIGPIPE, SIG_IGN);
    sandbox::ProcessDriverOptions options;
    options.forkserver_path = FORKBOX_FORKSERVER;
    options.runtime_dir = FORKBOX_RUNTIME;
    auto started = sandbox::ProcessDriver::Start(std::move(options));
    FORKBOX_CHECK(started);
    driver = std::move(*started);
    FORKBOX_CHECK(driver->Open(steady_clock::now() + seconds(60)));
    auto opened = store::OpenStore("sqlite:" + directory.File("test.db").string(), Log::Null());
    FORKBOX_CHECK(opened);
    store = std::move(*opened);
    worker = std::make_unique<runner::Worker>(
        runner::WorkerOptions{.slots = 2, .interactive_reserved = 1, .runner_id = "under-test"},
        store->executions(), broker, *driver, clock, Log::Null());
    service = std::make_unique<ExecutionService>(ExecutionService::Options{}, store->executions(),
                                                 broker, metrics, clock, Log::Null());
    server = std::make_unique<ApiServer>(
        ApiServer::Options{}, ApiServer::Parts{.service = *service,
                                               .store = *store,
                                               .broker = broker,
                                               .authenticator = authenticator,
                                               .metrics = metrics,
                                               .clock = clock,
                                               .address_guard = guard,
                                               .languages = [this] { return driver->Languages(); },
                                               .pool_stats = nullptr,
                                               .log = Log::Null()});
    FORKBOX_CHECK(server->Start());
  }
  ~Installation() {
    service->Close();
    server->Stop();
    broker.Close();
    worker.reset();
  }
};

class NcaEngineTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { installation_ = std::make_unique<Installation>(); }
  static void TearDownTestSuite() { installation_.reset(); }

  static json Post(const std::string& path, const json& request, int* status = nullptr) {
    const HttpAnswer answer =
        Fetch(installation_->server->port(),
              {"POST", path, {{"Content-Type", "application/json"}}, request.dump()});
    if (status != nullptr) *status = answer.status;
    json body = json::parse(answer.body, nullptr, false);
    EXPECT_FALSE(body.is_discarded()) << answer.body;
    return body;
  }
  static json Run(const std::string& code, int expected) {
    int status = 0;
    json body = Post(kExecute, {{"code", code}, {"timeout", 60}}, &status);
    EXPECT_EQ(status, expected) << code << '\n' << body.dump(1);
    EXPECT_EQ(body["code"], status);
    return body;
  }
  static json AwaitJob(const std::string& id) {
    const auto give_up = steady_clock::now() + seconds(60);
    while (steady_clock::now() < give_up) {
      json job = Post("/v1/toolkit/job/status", {{"job_id", id}})["response"];
      if (job["job_status"] == "done") return job["response"];
      std::this_thread::sleep_for(milliseconds(20));
    }
    ADD_FAILURE() << id << " is not done";
    return {};
  }

  static std::unique_ptr<Installation> installation_;
};
std::unique_ptr<Installation> NcaEngineTest::installation_;

TEST_F(NcaEngineTest, ValuesAndOutput) {
  const struct {
    const char* code;
    json result;
    const char* out;
  } cases[] = {
      {"print('Hello, World!')", nullptr, "Hello, World!\n"},
      {"return sum(range(10))", 45, ""},
      {"return {'a': [1, None, (2, 'ü')], 3: True}",
       json::parse(R"({"a":[1,null,[2,"ü"]],"3":true})"), ""},
      {"result = 5", nullptr, ""},
      {"", nullptr, ""},
      {"# nothing", nullptr, ""},
      {"import os\nos.system('echo child')\nprint('parent')", nullptr, "child\nparent\n"},
      {"s = '''a\n    b\n'''\nreturn s", "a\n    b\n", ""},
      {"sys.stdout.write('x')\nreturn [json.loads('1'), StringIO('y').read()]",
       json::parse(R"([1,"y"])"), "x"},
      {"if __name__ == '__main__':\n    return 1", 1, ""},
      {"sys.exit(0)", nullptr, ""},
      {"import os\nreturn [k for k in os.environ if 'KEY' in k or 'FORKBOX' in k]", json::array(),
       ""},
  };
  for (const auto& test : cases) {
    const json body = Run(test.code, 200);
    EXPECT_EQ(body["message"], "success") << test.code;
    EXPECT_EQ(
        body["response"],
        (json{{"result", test.result}, {"stdout", test.out}, {"stderr", ""}, {"exit_code", 0}}))
        << test.code;
  }
}

TEST_F(NcaEngineTest, FailuresOfTheCodeAre400) {
  const struct {
    const char* code;
    int exit_code;
    std::string error;  // the beginning
    const char* out;
  } cases[] = {
      {"print('a')\n1 / 0", 1,
       "Error: division by zero\nTraceback (most recent call last):\n"
       "  File \"/box/work/main.py\", line 2, in main\n",
       "a\n"},
      {"print('never')\nx = (", 1, "  File \"/box/work/main.py\", line 2\n", ""},
      {"input()", 1, "Error: EOF when reading a line\n", ""},
      {"sys.exit(3)", 3, "Execution failed", ""},
      {"sys.exit('why')", 1, "why\n", ""},
      {"raise KeyboardInterrupt", 1, "Error: \nTraceback", ""},
      {"return object()", 1, "Error: the returned value cannot be represented as JSON: ", ""},
      {"return float('nan')", 1, "Error: the returned value cannot be represented as JSON: ", ""},
      {"import warnings\nwarnings.warn('careful')", 0, "/box/work/main.py:2: UserWarning", ""},
      {"sys.stderr.write('hm')\nreturn 1", 0, "hm", ""},
  };
  for (const auto& test : cases) {
    const json body = Run(test.code, 400);
    EXPECT_EQ(body["response"], nullptr);
    EXPECT_THAT(body["message"]["error"].get<std::string>(), StartsWith(test.error)) << test.code;
    EXPECT_EQ(body["message"]["exit_code"], test.exit_code) << test.code;
    EXPECT_EQ(body["message"]["stdout"], test.out) << test.code;
    EXPECT_EQ(body["error"], body["message"]["error"]);
    EXPECT_EQ(body["exit_code"], test.exit_code);
  }
}

TEST_F(NcaEngineTest, WhatEndsWithoutAResultIs500) {
  const struct {
    const char* code;
    int exit_code;
    std::string error;
  } cases[] = {
      {"print('out', flush=True)\nimport os\nos._exit(0)", 0, "Failed to parse execution result"},
      {"print('out')\nimport os\nos.kill(os.getpid(), 11)", -11,
       "Execution failed: killed by signal 11"},
      {"print('out')\nx = bytearray(1 << 30)", -9, "Execution failed: out of memory"},
  };
  for (const auto& test : cases) {
    const json body = Run(test.code, 500);
    EXPECT_EQ(body["message"]["error"], test.error) << test.code;
    EXPECT_EQ(body["message"]["exit_code"], test.exit_code) << test.code;
    EXPECT_EQ(body["message"]["stdout"], "out\n") << test.code;
    EXPECT_TRUE(body["message"].contains("stderr"));
  }
}

TEST_F(NcaEngineTest, TimeRunsOut) {
  for (const char* code : {"while True: pass", "import time\ntime.sleep(100)"}) {
    int status = 0;
    const json body = Post(kExecute, {{"code", code}, {"timeout", 1}}, &status);
    EXPECT_EQ(status, 408) << body.dump();
    EXPECT_EQ(body["message"], (json{{"error", "Execution timed out after 1 seconds"}}));
    EXPECT_GE(body["run_time"], 1.0);
  }
}

TEST_F(NcaEngineTest, AQueuedJobEndsAsAWaitedForOneDoes) {
  int status = 0;
  const json good = Post(
      kExecute, {{"code", "print('n')\nreturn 2**70"}, {"webhook_url", ""}, {"id", "w0"}}, &status);
  EXPECT_EQ(status, 202);
  EXPECT_EQ(good.size(), 9U) << good.dump();
  const json bad = Post(kExecute, {{"code", "1 / 0"}, {"webhook_url", ""}}, &status);
  EXPECT_EQ(status, 202);
  const json slow =
      Post(kExecute, {{"code", "while True: pass"}, {"webhook_url", ""}, {"timeout", 1}}, &status);

  const json ended = AwaitJob(good["job_id"]);
  EXPECT_EQ(ended.size(), 13U);
  EXPECT_EQ(ended["code"], 200);
  EXPECT_EQ(ended["id"], "w0");
  EXPECT_EQ(ended["job_id"], good["job_id"]);
  EXPECT_EQ(ended["response"]["stdout"], "n\n");
  EXPECT_EQ(AwaitJob(bad["job_id"])["code"], 400);
  EXPECT_EQ(AwaitJob(slow["job_id"])["code"], 408);

  // What another process would POST is what job/status holds; digits beyond a double's included.
  const auto record = installation_->store->executions().Get(
      schema::ExecutionId(good["job_id"].get<std::string>()), std::nullopt);
  ASSERT_TRUE(record);
  const std::string document = ResultDocument(*record, ended["queue_length"]);
  EXPECT_THAT(document, HasSubstr(R"("result":1180591620717411303424})"));
  EXPECT_EQ(json::parse(document), ended);
}

}  // namespace
}  // namespace forkbox::api
