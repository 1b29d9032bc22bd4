// The program with its virtual machines, over HTTP: a server whose default is a machine, every
// dialect, and what health, languages and metrics say of it.
#include <gtest/gtest.h>
#include <time.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>

#include "tests/api/http_client.h"
#include "tests/cli/forkbox_process.h"

namespace forkbox::tests {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;
using testing::Fetch;
using testing::HttpAnswer;

double SecondsSinceBoot() {
  timespec now{};
  ::clock_gettime(CLOCK_BOOTTIME, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

// A machine boots later than its host, so its clock since boot is behind.
constexpr const char* kUptime = "import time\nprint(time.clock_gettime(time.CLOCK_BOOTTIME))";

// One server for all: a template takes its time.
class VmHttpTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    server_ = new ForkboxProcess(directory_->path(),
                                 {"serve", "--listen", "127.0.0.1:0", "--data-dir", "var", "--vm",
                                  "on", "--vm-pool-size", "1"},
                                 "", {"FORKBOX_ISOLATION=vm", "FORKBOX_VM=on"});
    const std::string url = server_->WaitForUrl();
    ASSERT_NE(url, "") << server_->Stderr();
    port_ = static_cast<std::uint16_t>(std::stoi(url.substr(url.rfind(':') + 1)));

    // Before anything is ready: what wants a machine is accepted and waits, all else is not held
    // up.
    const json early = Post(
        "/api/v1/execute",
        {{"language", "python"}, {"code", "print('early')"}, {"isolation", "vm"}, {"async", true}});
    ASSERT_EQ(early["isolation"], "vm") << early;
    const std::string state = Health()["vm"]["state"];
    EXPECT_TRUE(state == "starting" || state == "ready") << state;
    const json process =
        Post("/api/v1/execute",
             {{"language", "python"}, {"code", "print(1)"}, {"isolation", "process"}});
    EXPECT_EQ(process["result"]["stdout"], "1\n") << process;
    EXPECT_EQ(process["isolation"], "process");
    EXPECT_EQ(process["accelerator"], nullptr);

    const json ended = Ended(early["id"]);
    ASSERT_EQ(ended["status"], "completed") << ended << Health() << server_->Stderr();
    EXPECT_EQ(ended["result"]["stdout"], "early\n");
    EXPECT_EQ(ended["isolation"], "vm");
    EXPECT_EQ(ended["attempts"], 1) << "waiting is no attempt";
    accelerator_ = Health()["vm"]["accelerator"];
    EXPECT_EQ(ended["accelerator"], accelerator_);
  }
  static void TearDownTestSuite() {
    server_->Signal(SIGTERM);
    EXPECT_EQ(server_->Wait(), 0) << server_->Stderr();
    delete server_;
    delete directory_;
  }

  static json Ask(const std::string& method, const std::string& path, const json& body) {
    http::Fields headers;
    if (!body.is_null()) headers.emplace_back("Content-Type", "application/json");
    last_ = Fetch(port_, {method, path, headers, body.is_null() ? "" : body.dump()});
    return json::parse(last_.body, nullptr, false);
  }
  static json Post(const std::string& path, const json& body) { return Ask("POST", path, body); }
  static json Get(const std::string& path) { return Ask("GET", path, nullptr); }
  // An answer may come a moment before the row that it is about says so.
  static json Ended(const std::string& id) {
    json execution;
    for (int i = 0; i < 9'000; ++i) {
      execution = Get("/api/v1/executions/" + id);
      if (execution["status"] != "running") break;
      std::this_thread::sleep_for(100ms);
    }
    return execution;
  }
  static json Health() { return Get("/api/v1/health"); }

  static inline auto* directory_ = new TemporaryDirectory();
  static inline ForkboxProcess* server_ = nullptr;
  static inline std::uint16_t port_ = 0;
  static inline json accelerator_;
  static inline HttpAnswer last_;
};

struct Program {
  const char* language;
  const char* code;
  const char* prints;
};
TEST_F(VmHttpTest, ProgramsOfEachLanguageRunInAMachineAndTheAnswerSaysSo) {
  const Program programs[] = {
      {"python", "import sys\nprint(2 * int(input()), sys.argv[1], open('data/a').read())",
       "42 an argument f\n"},
      {"bash", "read n; echo $((n * 2)) \"$1\" $(cat data/a)", "42 an argument f\n"},
      {"javascript",
       "const fs = require('fs');\n"
       "console.log(2 * Number(fs.readFileSync(0, 'utf8')), process.argv[2],\n"
       "            fs.readFileSync('data/a', 'utf8'))",
       "42 an argument f\n"},
      {"go",
       "package main\nimport (\"fmt\"; \"os\")\nfunc main() {\n  var n int\n"
       "  fmt.Scan(&n)\n  data, _ := os.ReadFile(\"data/a\")\n"
       "  fmt.Println(2*n, os.Args[1], string(data))\n}\n",
       "42 an argument f\n"},
  };
  for (const Program& program : programs) {
    SCOPED_TRACE(program.language);
    const json answer =
        Post("/api/v1/execute", {{"language", program.language},
                                 {"code", program.code},
                                 {"isolation", "vm"},
                                 {"stdin", "21"},
                                 {"args", {"an argument"}},
                                 {"files", {{{"name", "data/a"}, {"content", "f"}}}},
                                 {"timeout", 120}});
    ASSERT_EQ(last_.status, 200) << last_.body;
    EXPECT_EQ(answer["status"], "completed") << answer;
    EXPECT_EQ(answer["result"]["stdout"], program.prints) << answer;
    EXPECT_EQ(answer["isolation"], "vm");
    EXPECT_EQ(answer["accelerator"], accelerator_);
    EXPECT_GT(answer["memoryUsed"], 0);
  }
}

TEST_F(VmHttpTest, TheDefaultHoldsForDialectsThatCannotSay) {
  const json zeroboot = Post("/v1/exec", {{"code", kUptime}, {"timeout_seconds", 60}});
  ASSERT_EQ(last_.status, 200) << last_.body;
  EXPECT_EQ(zeroboot["exit_code"], 0) << zeroboot;
  EXPECT_LT(std::stod(zeroboot["stdout"].get<std::string>()), SecondsSinceBoot() - 1);
  EXPECT_EQ(Ended(zeroboot["id"])["isolation"], "vm");

  const json nca = Post("/v1/code/execute/python", {{"code", "return {'answer': 6 * 7}"}});
  ASSERT_EQ(last_.status, 200) << last_.body;
  EXPECT_EQ(nca["response"]["result"]["answer"], 42) << nca;
  const json seen = Ended(nca["job_id"]);
  EXPECT_EQ(seen["isolation"], "vm") << seen;
  EXPECT_EQ(seen["accelerator"], accelerator_) << seen;

  const json exec0 = Post("/api/v1/execute", {{"language", "python"}, {"code", kUptime}});
  EXPECT_LT(std::stod(exec0["result"]["stdout"].get<std::string>()), SecondsSinceBoot() - 1);
  EXPECT_EQ(exec0["isolation"], "vm");
}

TEST_F(VmHttpTest, EachTestIsAForkOfItsOwn) {
  const json answer =
      Post("/api/v1/execute", {{"language", "python"},
                               {"code",
                                "import os\nprint(int(input()) * 2, os.path.exists('left'))"
                                "\nopen('left', 'w')"},
                               {"tests",
                                {{{"stdin", "1"}, {"expectedOutput", "2 False"}},
                                 {{"stdin", "2"}, {"expectedOutput", "4 False"}},
                                 {{"stdin", "3"}, {"expectedOutput", "7"}}}},
                               {"timeout", 60}});
  ASSERT_EQ(last_.status, 200) << last_.body;
  EXPECT_EQ(answer["summary"], (json{{"passed", 2}, {"total", 3}})) << answer;
  EXPECT_EQ(answer["isolation"], "vm");
  EXPECT_EQ(answer["accelerator"], accelerator_);
}

TEST_F(VmHttpTest, ProgramsThatFailAreResults) {
  const json late = Post("/api/v1/execute",
                         {{"language", "python"}, {"code", "while True: pass"}, {"timeout", 5}});
  EXPECT_EQ(late["status"], "timeout") << late;
  EXPECT_EQ(late["reason"], "wall_timeout") << late;
  EXPECT_EQ(late["accelerator"], accelerator_) << late;
  const json big = Post("/api/v1/execute", {{"language", "python"},
                                            {"code", "x = bytearray(512 << 20)"},
                                            {"memoryLimit", 64},
                                            {"timeout", 60}});
  EXPECT_EQ(big["reason"], "out_of_memory") << big;
}

TEST_F(VmHttpTest, WhatMachinesDoNotHaveIsRefusedByName) {
  const json none =
      Post("/api/v1/execute", {{"language", "typescript"}, {"code", "1"}, {"isolation", "vm"}});
  EXPECT_EQ(last_.status, 400) << none;
  EXPECT_EQ(none["details"]["field"], "language") << none;
  const std::uint64_t most = Health()["vm"]["memoryMb"];
  ASSERT_GT(most, 256U);
  ASSERT_LT(most, 2048U) << "of a machine of 2048 MB; and no request may ask for more";
  const json big =
      Post("/api/v1/execute",
           {{"language", "python"}, {"code", "1"}, {"isolation", "vm"}, {"memoryLimit", most + 1}});
  EXPECT_EQ(last_.status, 400) << big;
  EXPECT_EQ(big["details"]["field"], "memoryLimit") << big;
}

TEST_F(VmHttpTest, HealthLanguagesAndMetricsTellOfThem) {
  const json vm = Health()["vm"];
  EXPECT_EQ(vm["state"], "ready") << vm;
  EXPECT_TRUE(vm["design"] == "live" || vm["design"] == "snapshot") << vm;
  for (const char* id : {"python", "bash", "javascript", "go"}) {
    EXPECT_NE(std::find(vm["languages"].begin(), vm["languages"].end(), id), vm["languages"].end())
        << id << vm;
  }
  for (const json& language : Get("/api/v1/languages")["languages"]) {
    if (language["id"] == "python") {
      EXPECT_EQ(language["isolations"], (json{"process", "vm"}));
    }
  }
  Get("/metrics");
  EXPECT_NE(last_.body.find("forkbox_vm_state{state=\"ready\"} 1"), std::string::npos);
  EXPECT_NE(last_.body.find("forkbox_executions_isolated_total{accelerator=\"" +
                            accelerator_.get<std::string>() + "\",isolation=\"vm\"}"),
            std::string::npos);
  EXPECT_NE(server_->Stderr().find("\"isolation\":\"vm\""), std::string::npos) << "in the log";
}

}  // namespace
}  // namespace forkbox::tests
