#include "api/opensandbox/execd_stream.h"

#include <gtest/gtest.h>

#include <string>

namespace forkbox::api {
namespace {

using execd::Event;
using std::chrono::milliseconds;

struct EventCase {
  const char* name;
  Event event;
  const char* json;
};

class ExecdEventJsonTest : public ::testing::TestWithParam<EventCase> {};

TEST_P(ExecdEventJsonTest, LeavesOutWhatIsEmpty) {
  EXPECT_EQ(ExecdEventJson(GetParam().event, 1700), GetParam().json);
}

Event Make(Event::Type type, std::string text = "") {
  Event event;
  event.type = type;
  event.text = std::move(text);
  return event;
}

Event Result() {
  Event event = Make(Event::Type::kResult);
  event.results = {{"text", "4"}, {"image/png", "AA=="}};
  return event;
}

Event Count(std::int64_t count) {
  Event event = Make(Event::Type::kExecutionCount);
  event.execution_count = count;
  return event;
}

Event Complete(milliseconds time) {
  Event event = Make(Event::Type::kExecutionComplete);
  event.execution_time = time;
  return event;
}

Event Error(std::vector<std::string> traceback) {
  Event event = Make(Event::Type::kError);
  event.ename = "CommandExecError";
  event.evalue = "3";
  event.traceback = std::move(traceback);
  return event;
}

INSTANTIATE_TEST_SUITE_P(
    Events, ExecdEventJsonTest,
    ::testing::Values(
        EventCase{"init", Make(Event::Type::kInit, "id"),
                  R"({"type":"init","text":"id","timestamp":1700})"},
        EventCase{"ping", Make(Event::Type::kPing, "pong"),
                  R"({"type":"ping","text":"pong","timestamp":1700})"},
        EventCase{"blank_line", Make(Event::Type::kStdout, "\n"),
                  R"({"type":"stdout","text":"\n","timestamp":1700})"},
        EventCase{"any_bytes", Make(Event::Type::kStderr, "a\xff\xfe z"),
                  "{\"type\":\"stderr\",\"text\":\"a\xEF\xBF\xBD\xEF\xBF\xBD z\","
                  "\"timestamp\":1700}"},
        EventCase{
            "result", Result(),
            R"({"type":"result","timestamp":1700,"results":{"image/png":"AA==","text":"4"}})"},
        EventCase{"count", Count(2),
                  R"({"type":"execution_count","execution_count":2,"timestamp":1700})"},
        EventCase{"complete", Complete(milliseconds(12)),
                  R"({"type":"execution_complete","execution_time":12,"timestamp":1700})"},
        EventCase{"complete_at_once", Complete(milliseconds(0)),
                  R"({"type":"execution_complete","timestamp":1700})"},
        EventCase{"error", Error({"exit status 3"}),
                  R"({"type":"error","timestamp":1700,"error":{"ename":"CommandExecError",)"
                  R"("evalue":"3","traceback":["exit status 3"]}})"},
        EventCase{"error_without_traceback", Error({}),
                  R"({"type":"error","timestamp":1700,"error":{"ename":"CommandExecError",)"
                  R"("evalue":"3","traceback":[]}})"}),
    [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace forkbox::api
