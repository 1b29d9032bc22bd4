// The answers of the NCA dialect, member by member. What needs a server is in tests/api.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>

#include "api/nca_document.h"
#include "api/nca_refusals.h"
#include "api/nca_request.h"

namespace forkbox::api {
namespace {

using nlohmann::json;
using schema::Delivery;
using schema::ExecutionId;
using schema::Outcome;
using schema::OwnerId;
using schema::Reason;
using schema::State;
using ::testing::HasSubstr;

constexpr NcaProcess kProcess{.pid = 8573, .queue_id = 140'100'472'323'344};

std::set<std::string> Names(const json& object) {
  std::set<std::string> names;
  for (const auto& [name, value] : object.items()) names.insert(name);
  return names;
}

const std::set<std::string> kEnvelope{
    "endpoint", "code",       "id",         "job_id",   "response",     "message",     "run_time",
    "pid",      "queue_time", "total_time", "queue_id", "queue_length", "build_number"};

std::set<std::string> EnvelopeAnd(std::set<std::string> more) {
  more.insert(kEnvelope.begin(), kEnvelope.end());
  return more;
}

Outcome Exited(int code, std::string err = "", std::optional<std::string> value = "null") {
  Outcome outcome;
  outcome.reason = Reason::kExited;
  outcome.exit_code = code;
  outcome.stdout_text = "out\n";
  outcome.stderr_text = std::move(err);
  outcome.value_json = std::move(value);
  return outcome;
}

Outcome Ended(Reason reason, std::optional<int> signal = {}) {
  Outcome outcome = Exited(0, "err\n", {});
  outcome.exit_code.reset();
  outcome.reason = reason;
  outcome.signal = signal;
  outcome.message = "no cgroup";
  return outcome;
}

store::ExecutionRecord Record(Outcome outcome, NcaContext context = {}) {
  context.process = kProcess;
  if (context.timeout.empty()) context.timeout = "10";
  store::ExecutionRecord record;
  record.execution.id = ExecutionId("c2190123-86cf-4d40-953b-739d607098b8");
  record.execution.dialect = "nca";
  record.execution.client_reference = "x1";
  record.execution.dialect_context = context.ToText();
  record.execution.created_unix_ms = 1'000'000;
  record.started_unix_ms = 1'000'001;
  record.finished_unix_ms = 1'001'041;
  record.outcome = std::move(outcome);
  record.state = State::kCompleted;
  return record;
}

json Answer(const store::ExecutionRecord& record, std::uint64_t queue_length = 0) {
  const NcaReply reply = NcaDocument(record, queue_length);
  json body = json::parse(reply.body);
  EXPECT_EQ(body["code"], reply.status);
  return body;
}

TEST(NcaDocumentTest, ASuccessHasEveryMemberOfTheSpecification) {
  NcaContext context;
  context.has_id = true;
  const json body = Answer(Record(Exited(0, "", R"({"a":[1,2.5]})"), context), 2);
  EXPECT_EQ(Names(body), kEnvelope);
  EXPECT_EQ(body["endpoint"], "/v1/code/execute/python");
  EXPECT_EQ(body["code"], 200);
  EXPECT_EQ(body["id"], "x1");
  EXPECT_EQ(body["job_id"], "c2190123-86cf-4d40-953b-739d607098b8");
  EXPECT_EQ(body["message"], "success");
  EXPECT_EQ(body["response"], json::parse(R"({"result":{"a":[1,2.5]},"stdout":"out\n","stderr":"",
                                              "exit_code":0})"));
  EXPECT_EQ(body["pid"], kProcess.pid);
  EXPECT_EQ(body["queue_id"], kProcess.queue_id);
  EXPECT_EQ(body["queue_length"], 2);
  EXPECT_TRUE(body["build_number"].is_string());
  EXPECT_NE(body["build_number"], "");
}

TEST(NcaDocumentTest, IdsAreNullUnlessGiven) {
  NcaContext context;
  EXPECT_EQ(Answer(Record(Exited(0), context))["id"], nullptr);
  context.has_id = true;
  auto record = Record(Exited(0), context);
  record.execution.client_reference = "";
  EXPECT_EQ(Answer(record)["id"], "");
}

TEST(NcaDocumentTest, TimesAreSecondsWithThreeDecimals) {
  auto record = Record(Exited(0));
  record.execution.delivery = Delivery::kWait;
  json body = Answer(record);
  EXPECT_EQ(body["run_time"], 1.041);
  EXPECT_EQ(body["queue_time"], 0.0);
  EXPECT_EQ(body["total_time"], 1.041);
  EXPECT_THAT(NcaDocument(record, 0).body, HasSubstr(R"("run_time":1.041,)"));
  for (const Delivery delivery : {Delivery::kPoll, Delivery::kWebhook}) {
    record.execution.delivery = delivery;
    body = Answer(record);
    EXPECT_EQ(body["run_time"], 1.04);
    EXPECT_EQ(body["queue_time"], 0.001);
    EXPECT_EQ(body["total_time"], 1.041);
  }
  record.started_unix_ms = 0;  // it never ran
  body = Answer(record);
  EXPECT_EQ(body["run_time"], 0.0);
  EXPECT_EQ(body["queue_time"], 1.041);
  record.finished_unix_ms = 0;  // clocks of several machines
  EXPECT_EQ(Answer(record)["total_time"], 0.0);
}

TEST(NcaDocumentTest, AResultKeepsAllItsDigits) {
  for (const char* value : {"1267650600228229401496703205376", "0.1000", "1e+300", "-0.0",
                            R"("\u00e9\ud83d\ude00")", "[ 1 , {} ]"}) {
    EXPECT_THAT(NcaDocument(Record(Exited(0, "", value)), 0).body,
                HasSubstr(std::string(R"("result":)") + value + "}"));
  }
}

struct Case {
  std::string name;
  Outcome outcome;
  int code;
  json message;
};

class EndingTest : public ::testing::TestWithParam<Case> {};

TEST_P(EndingTest, IsAnErrorObjectUnderMessageAndAtTheTop) {
  const Case& test = GetParam();
  const json body = Answer(Record(test.outcome));
  EXPECT_EQ(body["code"], test.code);
  EXPECT_EQ(body["response"], nullptr);
  EXPECT_EQ(body["message"], test.message);
  std::set<std::string> hoisted;
  for (const char* name : {"error", "stdout", "stderr", "exit_code"}) {
    if (!test.message.contains(name)) continue;
    EXPECT_EQ(body[name], test.message[name]) << name;
    hoisted.insert(name);
  }
  EXPECT_EQ(Names(body), EnvelopeAnd(hoisted));
}

Outcome NotCompiled() {
  Outcome outcome = Exited(1, "");
  outcome.reason = Reason::kCompileFailed;
  outcome.stdout_text = "";
  outcome.compile_output = "  File \"/box/work/main.py\", line 1\nSyntaxError: invalid syntax\n";
  return outcome;
}

INSTANTIATE_TEST_SUITE_P(
    Reasons, EndingTest,
    ::testing::Values(Case{"exception",
                           Exited(1, "Error: division by zero\nTraceback …\n", {}),
                           400,
                           {{"error", "Error: division by zero\nTraceback …\n"},
                            {"stdout", "out\n"},
                            {"exit_code", 1}}},
                      Case{"exit_code",
                           Exited(3, "", {}),
                           400,
                           {{"error", "Execution failed"}, {"stdout", "out\n"}, {"exit_code", 3}}},
                      Case{"stderr_only",
                           Exited(0, "UserWarning\n"),
                           400,
                           {{"error", "UserWarning\n"}, {"stdout", "out\n"}, {"exit_code", 0}}},
                      Case{"syntax",
                           NotCompiled(),
                           400,
                           {{"error",
                             "  File \"/box/work/main.py\", line 1\nSyntaxError: invalid syntax\n"},
                            {"stdout", ""},
                            {"exit_code", 1}}},
                      Case{"wall",
                           Ended(Reason::kWallTimeout, 9),
                           408,
                           {{"error", "Execution timed out after 10 seconds"}}},
                      Case{"cpu",
                           Ended(Reason::kCpuTimeout, 9),
                           408,
                           {{"error", "Execution timed out after 10 seconds"}}},
                      Case{"queue",
                           Ended(Reason::kQueueDeadline),
                           408,
                           {{"error", "Execution timed out in the queue"}}},
                      Case{"no_value",
                           Exited(0, "err\n", {}),
                           500,
                           {{"error", "Failed to parse execution result"},
                            {"stdout", "out\n"},
                            {"stderr", "err\n"},
                            {"exit_code", 0},
                            {"reason", ""}}},
                      Case{"signal",
                           Ended(Reason::kSignalled, 11),
                           500,
                           {{"error", "Execution failed: killed by signal 11"},
                            {"stdout", "out\n"},
                            {"stderr", "err\n"},
                            {"exit_code", -11}}},
                      Case{"memory",
                           Ended(Reason::kOutOfMemory, 9),
                           500,
                           {{"error", "Execution failed: out of memory"},
                            {"stdout", "out\n"},
                            {"stderr", "err\n"},
                            {"exit_code", -9}}},
                      Case{"cancelled",
                           Ended(Reason::kCancelled),
                           500,
                           {{"error", "Execution failed: cancelled"}}},
                      Case{"lost",
                           Ended(Reason::kRunnerLost),
                           500,
                           {{"error", "Execution failed: the runner was lost"}}},
                      Case{"sandbox",
                           Ended(Reason::kSandboxFailed),
                           500,
                           {{"error", "Execution failed: no cgroup"}}}),
    [](const auto& test) { return test.param.name; });

TEST(NcaDocumentTest, TheTimeoutIsShownAsItWasGiven) {
  for (const char* given : {"1", "2.0", "300"}) {
    NcaContext context;
    context.timeout = given;
    EXPECT_EQ(Answer(Record(Ended(Reason::kWallTimeout), context))["error"],
              std::string("Execution timed out after ") + given + " seconds");
  }
}

TEST(NcaDocumentTest, StderrNeedNotBeAnError) {
  NcaContext context;
  context.stderr_is_error = false;
  const json body = Answer(Record(Exited(0, "warning\n", "7"), context));
  EXPECT_EQ(body["code"], 200);
  EXPECT_EQ(body["response"]["stderr"], "warning\n");
  EXPECT_EQ(body["response"]["result"], 7);
  EXPECT_EQ(Answer(Record(Exited(2, "warning\n", "7"), context))["code"], 400);
}

TEST(NcaDocumentTest, SaysWhatWasCutOnlyWhenItWas) {
  Outcome outcome = Exited(0);
  outcome.stdout_truncated = true;
  json body = Answer(Record(outcome));
  EXPECT_EQ(body["response"]["stdout_truncated"], true);
  EXPECT_FALSE(body["response"].contains("stderr_truncated"));
  outcome = Exited(1, "err\n");
  outcome.stderr_truncated = true;
  body = Answer(Record(outcome));
  EXPECT_EQ(body["message"]["stderr_truncated"], true);
  EXPECT_FALSE(body["message"].contains("stdout_truncated"));
}

TEST(NcaDocumentTest, ADamagedRowStillHasAnAnswer) {
  auto record = Record(Exited(0));
  for (const char* context :
       {"", "{", "[]", "null", R"({"pid":"x","has_id":1,"timeout":[]})", R"({"queue_id":-1})"}) {
    record.execution.dialect_context = context;
    EXPECT_EQ(Names(Answer(record)), kEnvelope) << context;
    EXPECT_EQ(Answer(record)["id"], nullptr);
  }
  record.outcome.reset();
  EXPECT_EQ(Answer(record)["code"], 500);
}

// ------------------------------------------------------------------ queued, refused

TEST(NcaDocumentTest, AnAcceptedJobHasExactlyNineMembers) {
  const NcaReply limited = NcaAccepted(ExecutionId("j"), "w0", kProcess, 1, 2);
  EXPECT_EQ(limited.status, 202);
  json body = json::parse(limited.body);
  EXPECT_TRUE(body["build_number"].is_string());
  body.erase("build_number");
  EXPECT_EQ(body, json::parse(R"({"code":202,"id":"w0","job_id":"j","message":"processing",
      "pid":8573,"queue_id":140100472323344,"max_queue_length":2,"queue_length":1})"));
  const json unlimited =
      json::parse(NcaAccepted(ExecutionId("j"), std::nullopt, kProcess, 0, 0).body);
  EXPECT_EQ(unlimited["max_queue_length"], "unlimited");
  EXPECT_EQ(unlimited["id"], nullptr);
  EXPECT_EQ(unlimited.size(), 9U);
}

TEST(NcaDocumentTest, ARefusedJobHasExactlyEightMembers) {
  const NcaReply refused =
      NcaRefused(ExecutionId("j"), "w3", kProcess, 2, "MAX_QUEUE_LENGTH (2) reached");
  EXPECT_EQ(refused.status, 429);
  json body = json::parse(refused.body);
  EXPECT_TRUE(body["build_number"].is_string());
  body.erase("build_number");
  EXPECT_EQ(body, json::parse(R"({"code":429,"id":"w3","job_id":"j",
      "message":"MAX_QUEUE_LENGTH (2) reached","pid":8573,"queue_id":140100472323344,
      "queue_length":2})"));
}

TEST(NcaDocumentTest, AJobRecordHoldsTheAnswer) {
  EXPECT_EQ(json::parse(NcaJobRecord(ExecutionId("j"), kProcess, State::kRunning, "null")),
            json::parse(R"({"job_status":"running","job_id":"j","queue_id":140100472323344,
                            "process_id":8573,"response":null})"));
  EXPECT_EQ(json::parse(NcaJobRecord(ExecutionId("j"), kProcess, State::kLost,
                                     R"({"code":500})"))["response"]["code"],
            500);
  EXPECT_EQ(NcaJobStatus(State::kQueued), "queued");
  for (const State state :
       {State::kCompleted, State::kError, State::kTimeout, State::kCancelled, State::kLost}) {
    EXPECT_EQ(NcaJobStatus(state), "done");
  }
}

TEST(NcaRefusalsTest, KeepTheLastOnesForTheirOwners) {
  NcaRefusals refusals(3);
  for (int i = 0; i < 5; ++i) {
    refusals.Add(ExecutionId(std::to_string(i)), OwnerId(i % 2 == 0 ? "even" : "odd"), 100 + i,
                 "answer " + std::to_string(i));
  }
  EXPECT_EQ(refusals.Find(ExecutionId("4"), OwnerId("even")), "answer 4");
  EXPECT_EQ(refusals.Find(ExecutionId("4"), OwnerId("odd")), std::nullopt);
  EXPECT_EQ(refusals.Find(ExecutionId("1"), OwnerId("odd")), std::nullopt) << "forgotten";
  EXPECT_THAT(refusals.Since(103, OwnerId("even")), ::testing::ElementsAre(ExecutionId("4")));
  EXPECT_THAT(refusals.Since(0, OwnerId("odd")), ::testing::ElementsAre(ExecutionId("3")));
}

// ------------------------------------------------------------------ requests

http::Call CallWith(std::string body, std::string type = "application/json") {
  http::Call call;
  call.body = std::move(body);
  if (!type.empty()) call.fields = {{"content-type", std::move(type)}};
  return call;
}

TEST(NcaRequestTest, EveryRejectionHasItsWords) {
  const auto schema = PythonSchema::Load("nca_execute");
  ASSERT_TRUE(schema);
  const struct {
    std::string type;
    std::string body;
    int status;
    std::string message;  // the beginning of it
  } cases[] = {
      {"", R"({"code":"x"})", 415, "Unsupported Media Type"},
      {"text/plain", R"({"code":"x"})", 415, "Unsupported Media Type"},
      {"application/json", "", 400, "Bad Request: "},
      {"application/json", "{", 400, "Bad Request: "},
      {"application/json", R"({"code":"x"} tail)", 400, "Bad Request: "},
      {"application/json", R"({"code":"\ud800"})", 400, "Bad Request: "},
      {"application/json", "{\"code\":\"\xff\"}", 400, "Bad Request: "},
      {"application/json", R"({"code":"x","timeout":1e400})", 400, "Bad Request: number out of"},
      {"application/json", R"({"code":"x","timeout":NaN})", 400, "Bad Request: "},
      {"application/json", std::string(100'000, '['), 400, "Bad Request: "},
      {"application/json", "{}", 400, "Missing JSON in request"},
      {"application/json", "[]", 400, "Missing JSON in request"},
      {"application/json", "\"\"", 400, "Missing JSON in request"},
      {"application/json", "0", 400, "Missing JSON in request"},
      {"application/json", "0.0", 400, "Missing JSON in request"},
      {"application/json", "null", 400, "Missing JSON in request"},
      {"application/json", "false", 400, "Missing JSON in request"},
      {"application/json", "\"str\"", 400, "Invalid payload: 'str' is not of type 'object'"},
      {"application/json", R"({"id":"x"})", 400, "Invalid payload: 'code' is a required property"},
  };
  for (const auto& test : cases) {
    const auto body = ParseNcaBody(CallWith(test.body, test.type), *schema);
    ASSERT_FALSE(body) << test.body;
    EXPECT_EQ(body.error().status, test.status) << test.body;
    EXPECT_TRUE(body.error().message.starts_with(test.message)) << body.error().message;
  }
  for (const char* type :
       {"application/json; charset=utf-8", "Application/JSON", "application/a+json"}) {
    EXPECT_TRUE(ParseNcaBody(CallWith(R"({"code":""})", type), *schema)) << type;
  }
}

TEST(NcaRequestTest, MembersAndTheirDefaults) {
  auto least = ToNcaExecuteRequest(json{{"code", ""}}, {});
  ASSERT_TRUE(least);
  EXPECT_EQ(least->code, "");
  EXPECT_EQ(least->timeout, std::chrono::seconds(30));
  EXPECT_EQ(least->timeout_as_given, "30");
  EXPECT_EQ(least->webhook_url, std::nullopt);
  EXPECT_EQ(least->id, std::nullopt);
  auto full = ToNcaExecuteRequest(
      json{{"code", std::string("a\0b", 3)}, {"timeout", 2.0}, {"webhook_url", ""}, {"id", ""}},
      {});
  ASSERT_TRUE(full);
  EXPECT_EQ(full->code.size(), 3U) << "the interpreter says what it thinks of that";
  EXPECT_EQ(full->timeout, std::chrono::seconds(2));
  EXPECT_EQ(full->timeout_as_given, "2.0");
  EXPECT_EQ(full->webhook_url, "");
  EXPECT_EQ(full->id, "");
}

TEST(NcaRequestTest, SizesAreBounded) {
  const NcaRequestLimits limits{.code_bytes = 10, .id_bytes = 5};
  EXPECT_TRUE(ToNcaExecuteRequest(json{{"code", "1234567890"}, {"id", "12345"}}, limits));
  const auto code = ToNcaExecuteRequest(json{{"code", "12345678901"}}, limits);
  ASSERT_FALSE(code);
  EXPECT_EQ(code.error().status, 413);
  EXPECT_EQ(code.error().message, "Invalid payload: 'code' is longer than 10 bytes");
  const auto id = ToNcaExecuteRequest(json{{"code", ""}, {"id", "123456"}}, limits);
  ASSERT_FALSE(id);
  EXPECT_EQ(id.error().status, 400);
  EXPECT_EQ(id.error().message, "Invalid payload: 'id' is longer than 5 bytes");
  EXPECT_FALSE(ToNcaExecuteRequest(json{{"code", ""}, {"id", std::string("\0", 1)}}, limits));
}

}  // namespace
}  // namespace forkbox::api
