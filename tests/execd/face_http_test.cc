// execd over HTTP: who may, what is refused and in which words.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <fstream>

#include "tests/execd/face_server.h"

namespace forkbox::tests {
namespace {

using ::testing::HasSubstr;

TEST(FaceHttpTest, WantsTheTokenOnEveryPathEvenUnknownOnes) {
  const std::string token = "s3cret-s3cret";
  FaceServer server({}, token);
  struct Case {
    const char* method;
    const char* target;
    const char* lines;
  };
  const Case cases[] = {
      {"GET", "/ping", ""},
      {"GET", "/nothing/here", ""},
      {"GET", "/proxy/8000/", ""},
      {"GET", "/ping", "X-EXECD-ACCESS-TOKEN: \r\n"},
      {"GET", "/ping", "X-EXECD-ACCESS-TOKEN: s3cret-s3creT\r\n"},
      {"GET", "/ping", "X-EXECD-ACCESS-TOKEN: s3cret-s3cret2\r\n"},
      {"GET", "/ping?X-EXECD-ACCESS-TOKEN=s3cret-s3cret", ""},
      {"POST", "/files/upload", "Transfer-Encoding: chunked\r\n"},
      {"GET", "/pty/x/ws", "Connection: Upgrade\r\nUpgrade: websocket\r\n"},
  };
  for (const Case& one : cases) {
    http::HttpClient client(server.port());
    client.Send(std::string(one.method) + " " + one.target + " HTTP/1.1\r\nHost: test\r\n" +
                one.lines + "\r\n");
    const auto answer = client.Read();
    ASSERT_TRUE(answer) << one.target;
    EXPECT_EQ(answer->status, 401) << one.target;
    EXPECT_EQ(Parse(answer->body)["error"],
              "Unauthorized: invalid or missing header X-EXECD-ACCESS-TOKEN");
  }
  EXPECT_EQ(server.Get("/ping").status, 200);
  EXPECT_EQ(server.Get("/nothing/here").status, 404);
  EXPECT_EQ(server.Shell("echo hi"), "hi");
  server.process().Signal(SIGTERM);
  EXPECT_EQ(server.process().Wait(), 0);
  EXPECT_EQ(server.process().Stderr().find(token), std::string::npos);
  EXPECT_EQ(server.process().Stdout().find(token), std::string::npos);
}

TEST(FaceHttpTest, IsNotOpenToTheWorldWithoutAToken) {
  TemporaryDirectory directory;
  ForkboxProcess open(directory.path(), {"execd", "--listen", "0.0.0.0:0"});
  EXPECT_EQ(open.Wait(), 2);
  EXPECT_THAT(open.Stderr(), HasSubstr("--insecure-no-auth"));
}

TEST(FaceHttpTest, OutlivesWhateverIsKilledInside) {
  FaceServer server;
  FaceStream waits = server.Stream("/command", {{"command", "echo on; sleep 1000"}});
  ASSERT_TRUE(waits.Next());
  server.Shell("kill -9 -1");
  EXPECT_EQ(server.Shell("echo still"), "still");
  server.process().Signal(SIGTERM);
  EXPECT_EQ(server.process().Wait(), 0);
}

TEST(FaceHttpTest, EndsWithAFailureWhenThePlaceIsLost) {
  FaceServer server;
  FaceStream waits = server.Stream("/command", {{"command", "echo on; sleep 1000"}});
  ASSERT_TRUE(waits.Next());
  const std::string pid = std::to_string(server.process().pid());
  std::ifstream children("/proc/" + pid + "/task/" + pid + "/children");
  pid_t forkserver = 0;
  ASSERT_TRUE(children >> forkserver);
  ::kill(forkserver, SIGKILL);
  EXPECT_EQ(server.process().Wait(), 1);
  EXPECT_THAT(server.process().Stderr(), HasSubstr("execd.sandbox_lost"));
}

TEST(FaceHttpTest, EndsAtASignalWhateverRuns) {
  FaceServer server;
  FaceStream waits = server.Stream("/command", {{"command", "trap '' TERM; echo on; sleep 1000"}});
  ASSERT_TRUE(waits.Next());
  ASSERT_TRUE(waits.Next());
  server.process().Signal(SIGTERM);
  EXPECT_EQ(server.process().Wait(std::chrono::seconds(20)), 0);
}

struct PlainCase {
  const char* name;
  FaceRequest request;
  int status;
  const char* body;
  const char* field = "";  // and what it says
  const char* value = "";
};

class FacePlainTest : public ::testing::TestWithParam<PlainCase> {};

TEST_P(FacePlainTest, IsAnsweredSo) {
  const auto answer = FaceServer::Shared().Ask(GetParam().request);
  EXPECT_EQ(answer.status, GetParam().status);
  EXPECT_EQ(answer.body, GetParam().body);
  EXPECT_TRUE(answer.complete);
  if (*GetParam().field != '\0') {
    EXPECT_EQ(answer.Header(GetParam().field), GetParam().value);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Requests, FacePlainTest,
    ::testing::Values(
        PlainCase{"ping", {.target = "/ping"}, 200, "", "Content-Length", "0"},
        PlainCase{"ready", {.target = "/ready"}, 200, "", "Content-Length", "0"},
        PlainCase{"root", {.target = "/"}, 404, "404 page not found", "Content-Type", "text/plain"},
        PlainCase{"unknown", {.target = "/nope"}, 404, "404 page not found"},
        PlainCase{"wrong_method", {.target = "/command"}, 404, "404 page not found"},
        PlainCase{"wrong_method_of_ping",
                  {.method = "POST", .target = "/ping"},
                  404,
                  "404 page not found"},
        PlainCase{
            "slash", {.target = "/metrics/?a=b"}, 301, "moved\n", "Location", "../metrics?a=b"},
        PlainCase{"slash_of_ping", {.target = "/ping/"}, 301, "moved\n", "Location", "../ping"},
        PlainCase{"slash_of_post",
                  {.method = "POST", .target = "/command/"},
                  307,
                  "moved\n",
                  "Location",
                  "../command"},
        PlainCase{"slash_of_nothing", {.target = "/nope/"}, 404, "404 page not found"},
        PlainCase{
            "proxy_to_itself", {.target = "/proxy/44772/ping"}, 200, "", "Content-Length", "0"},
        PlainCase{"proxy_to_itself_twice", {.target = "/proxy/44772/proxy/44772/ping"}, 200, ""},
        PlainCase{"no_files_to_remove",
                  {.method = "DELETE", .target = "/files"},
                  200,
                  "",
                  "Content-Length",
                  "0"},
        PlainCase{"no_infos", {.target = "/files/info"}, 200, "{}"},
        PlainCase{"no_contexts", {.target = "/code/contexts?language=cobol"}, 200, "[]"},
        PlainCase{"no_contexts_to_delete",
                  {.method = "DELETE", .target = "/code/contexts?language=cobol"},
                  200,
                  ""}),
    [](const auto& test) { return test.param.name; });

struct RefusalCase {
  const char* name;
  FaceRequest request;
  int status;
  const char* code;
  const char* message;  // a part of it
};

class FaceRefusalTest : public ::testing::TestWithParam<RefusalCase> {};

TEST_P(FaceRefusalTest, SaysWhatIsWrong) {
  const auto answer = FaceServer::Shared().Ask(GetParam().request);
  EXPECT_EQ(answer.status, GetParam().status) << answer.body;
  EXPECT_EQ(answer.Header("Content-Type"), "application/json; charset=utf-8");
  const Json body = Parse(answer.body);
  ASSERT_TRUE(body.is_object()) << answer.body;
  EXPECT_EQ(body["code"], GetParam().code);
  EXPECT_THAT(body.value("message", ""), HasSubstr(GetParam().message));
}

FaceRequest Posting(const char* target, const char* body) {
  return {.method = "POST", .target = target, .body = body};
}
FaceRequest Deleting(const char* target) { return {.method = "DELETE", .target = target}; }

constexpr const char* kInvalid = "INVALID_REQUEST_BODY";
constexpr const char* kUnparsable = "error parsing request, MAYBE invalid body format. ";

INSTANTIATE_TEST_SUITE_P(
    Commands, FaceRefusalTest,
    ::testing::Values(
        RefusalCase{"no_json", Posting("/command", "ls"), 400, kInvalid, kUnparsable},
        RefusalCase{"no_body", Posting("/command", ""), 400, kInvalid, kUnparsable},
        RefusalCase{"no_object", Posting("/command", "[]"), 400, kInvalid, kUnparsable},
        RefusalCase{"wrong_type", Posting("/command", R"({"command":7})"), 400, kInvalid,
                    "field \"command\" must be a string"},
        RefusalCase{"no_command", Posting("/command", "{}"), 400, kInvalid,
                    "invalid request, validation error "},
        RefusalCase{"empty_command", Posting("/command", R"({"command":""})"), 400, kInvalid,
                    "\"command\" is required"},
        RefusalCase{"both", Posting("/command", R"({"command":"a","argv":["b"]})"), 400, kInvalid,
                    "exactly one"},
        RefusalCase{"empty_program", Posting("/command", R"({"argv":[""]})"), 400, kInvalid,
                    "\"argv\""},
        RefusalCase{"nul", Posting("/command", R"({"command":"a\u0000b"})"), 400, kInvalid, "NUL"},
        RefusalCase{"bad_env", Posting("/command", R"({"command":"a","envs":{"A=B":"c"}})"), 400,
                    kInvalid, "\"envs\""},
        RefusalCase{"negative_timeout", Posting("/command", R"({"command":"a","timeout":-1})"), 400,
                    kInvalid, "\"timeout\""},
        RefusalCase{"gid_alone", Posting("/command", R"({"command":"a","gid":5})"), 400, kInvalid,
                    "uid is required when gid is provided"},
        RefusalCase{"no_such_cwd", Posting("/command", R"({"command":"a","cwd":"/nope"})"), 400,
                    kInvalid, "working directory does not exist: /nope"},
        RefusalCase{"cwd_is_a_file", Posting("/command", R"({"command":"a","cwd":"/etc/passwd"})"),
                    400, kInvalid, "working directory path is not a directory: /etc/passwd"},
        RefusalCase{"undefined_in_cwd",
                    Posting("/command", R"({"command":"a","cwd":"/$NOPE_B/$NOPE_A"})"), 400,
                    kInvalid, "path references undefined environment variables: NOPE_A,NOPE_B"},
        RefusalCase{"interrupt_nothing", Deleting("/command"), 400, "MISSING_QUERY",
                    "missing query parameter 'id'"},
        RefusalCase{"interrupt_unknown", Deleting("/command?id=abc"), 404, "CONTEXT_NOT_FOUND",
                    "no such session"},
        RefusalCase{"interrupt_unknown_code", Deleting("/code?id=abc"), 404, "CONTEXT_NOT_FOUND",
                    "error interruptting code context. no such session"},
        RefusalCase{"status_unknown",
                    {.target = "/command/status/abc"},
                    404,
                    kInvalid,
                    "command not found: abc"},
        RefusalCase{"logs_unknown",
                    {.target = "/command/abc/logs"},
                    400,
                    kInvalid,
                    "command not found: abc"},
        RefusalCase{"logs_negative",
                    {.target = "/command/abc/logs?cursor=-1"},
                    400,
                    kInvalid,
                    "error seek file"}),
    [](const auto& test) { return test.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Sessions, FaceRefusalTest,
    ::testing::Values(
        RefusalCase{"no_json", Posting("/session", "x"), 400, kInvalid, "error parsing request. "},
        RefusalCase{"unknown", Posting("/session/abc/run", R"({"command":"a"})"), 404,
                    "CONTEXT_NOT_FOUND", "error running in session. context not found"},
        RefusalCase{"no_command", Posting("/session/abc/run", "{}"), 400, kInvalid,
                    "invalid request. "},
        RefusalCase{"no_such_cwd", Posting("/session/abc/run", R"({"command":"a","cwd":"/nope"})"),
                    400, kInvalid, "invalid request. working directory does not exist"},
        RefusalCase{"delete_unknown", Deleting("/session/abc"), 404, "CONTEXT_NOT_FOUND",
                    "session abc not found"},
        RefusalCase{"pty_unknown",
                    {.target = "/pty/abc"},
                    404,
                    "CONTEXT_NOT_FOUND",
                    "pty session abc not found"},
        RefusalCase{"pty_delete_unknown", Deleting("/pty/abc"), 404, "CONTEXT_NOT_FOUND",
                    "pty session abc not found"},
        RefusalCase{"pty_socket_unknown",
                    {.target = "/pty/abc/ws"},
                    404,
                    "CONTEXT_NOT_FOUND",
                    "pty session abc not found"}),
    [](const auto& test) { return test.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Code, FaceRefusalTest,
    ::testing::Values(
        RefusalCase{"no_json", Posting("/code", "x"), 400, kInvalid, kUnparsable},
        RefusalCase{"no_code", Posting("/code", "{}"), 400, kInvalid, "\"code\" is required"},
        RefusalCase{"context_type", Posting("/code", R"({"code":"a","context":"b"})"), 400,
                    kInvalid, "context: "},
        RefusalCase{"unknown_language",
                    Posting("/code", R"({"code":"a","context":{"language":"cobol"}})"), 400,
                    kInvalid, "error running codes unknown language: cobol"},
        RefusalCase{"sql", Posting("/code", R"({"code":"a","context":{"language":"sql"}})"), 501,
                    "NOT_SUPPORTED", "sql"},
        RefusalCase{"unknown_context",
                    Posting("/code", R"({"code":"a","context":{"id":"b","language":"python"}})"),
                    404, "CONTEXT_NOT_FOUND", "error running codes context not found"},
        RefusalCase{"create_nothing", Posting("/code/context", "{}"), 400, kInvalid,
                    "error creating code context. "},
        RefusalCase{"create_unknown", Posting("/code/context", R"({"language":"cobol"})"), 400,
                    kInvalid, "unknown language: cobol"},
        RefusalCase{"list_of_commands",
                    {.target = "/code/contexts?language=command"},
                    400,
                    kInvalid,
                    "has no contexts"},
        RefusalCase{"get_unknown",
                    {.target = "/code/contexts/abc"},
                    404,
                    "CONTEXT_NOT_FOUND",
                    "context abc not found"},
        RefusalCase{"delete_unknown", Deleting("/code/contexts/abc"), 404, "CONTEXT_NOT_FOUND",
                    "context abc not found"},
        RefusalCase{"delete_all_of_nothing", Deleting("/code/contexts"), 400, "MISSING_QUERY",
                    "missing query parameter 'language'"},
        RefusalCase{"fork_unknown", Posting("/code/contexts/abc/fork", ""), 404,
                    "CONTEXT_NOT_FOUND", "context abc not found"}),
    [](const auto& test) { return test.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Files, FaceRefusalTest,
    ::testing::Values(
        RefusalCase{"info_missing",
                    {.target = "/files/info?path=/nope"},
                    404,
                    "FILE_NOT_FOUND",
                    "file not found. "},
        RefusalCase{"info_of_no_directory",
                    {.target = "/files/info?path=/etc/passwd/x"},
                    400,
                    kInvalid,
                    "error accessing file: "},
        RefusalCase{"undefined_variable",
                    {.target = "/files/info?path=$NOPE"},
                    400,
                    kInvalid,
                    "path references undefined environment variables: NOPE"},
        RefusalCase{"remove_directory", Deleting("/files?path=/tmp"), 400, kInvalid,
                    "error removing file /tmp. path is a directory"},
        RefusalCase{"remove_of_the_system", Deleting("/files?path=/usr/bin/env"), 403, "FORBIDDEN",
                    "error removing file /usr/bin/env. "},
        RefusalCase{"permissions_body", Posting("/files/permissions", "[]"), 400, kInvalid,
                    kUnparsable},
        RefusalCase{"permissions_mode", Posting("/files/permissions", R"({"/a":{"mode":999}})"),
                    400, kInvalid, "octal"},
        RefusalCase{"permissions_missing", Posting("/files/permissions", R"({"/a":{"mode":644}})"),
                    404, "FILE_NOT_FOUND", "error changing permissions for /a. "},
        RefusalCase{"permissions_owner",
                    Posting("/files/permissions", R"({"/tmp":{"owner":"nobody-here"}})"), 400,
                    kInvalid, "unknown user nobody-here"},
        RefusalCase{"permissions_not_ours",
                    Posting("/files/permissions", R"({"/usr":{"mode":777}})"), 403, "FORBIDDEN",
                    "error changing permissions for /usr. "},
        RefusalCase{"move_of_an_undefined_variable",
                    Posting("/files/mv", R"([{"src":"$NOPE","dest":"/tmp/a"}])"), 400, kInvalid,
                    "undefined environment variables: NOPE"},
        RefusalCase{"move_body", Posting("/files/mv", "{}"), 400, kInvalid, kUnparsable},
        RefusalCase{"move_half", Posting("/files/mv", R"([{"src":"/a"}])"), 400, kInvalid,
                    "\"dest\""},
        RefusalCase{"move_missing", Posting("/files/mv", R"([{"src":"/a","dest":"/tmp/b"}])"), 404,
                    "FILE_NOT_FOUND", "file not found. "},
        RefusalCase{"search_without",
                    {.target = "/files/search"},
                    400,
                    "MISSING_QUERY",
                    "missing query parameter 'path'"},
        RefusalCase{"search_missing",
                    {.target = "/files/search?path=/nope"},
                    404,
                    "FILE_NOT_FOUND",
                    "not found"},
        RefusalCase{"search_by_a_broken_pattern",
                    {.target = "/files/search?path=/tmp&pattern=%5B"},
                    400,
                    kInvalid,
                    "invalid pattern"},
        RefusalCase{"replace_in_a_directory",
                    Posting("/files/replace", R"({"/tmp":{"old":"a","new":"b"}})"), 400, kInvalid,
                    "is a directory"},
        RefusalCase{"replace_nothing",
                    Posting("/files/replace", R"({"/etc/passwd":{"old":"","new":"x"}})"), 400,
                    kInvalid, "old content must not be empty"},
        RefusalCase{"replace_missing",
                    Posting("/files/replace", R"({"/nope":{"old":"a","new":"b"}})"), 404,
                    "FILE_NOT_FOUND", "file not found. "},
        RefusalCase{"download_without",
                    {.target = "/files/download"},
                    400,
                    "MISSING_QUERY",
                    "missing query parameter 'path'"},
        RefusalCase{"download_missing",
                    {.target = "/files/download?path=/nope"},
                    404,
                    "FILE_NOT_FOUND",
                    "not found"},
        RefusalCase{"download_directory",
                    {.target = "/files/download?path=/tmp"},
                    400,
                    kInvalid,
                    "is a directory"},
        RefusalCase{"download_offset",
                    {.target = "/files/download?path=/etc/passwd&offset=0"},
                    400,
                    kInvalid,
                    "invalid query parameter 'offset': 0"},
        RefusalCase{"download_limit",
                    {.target = "/files/download?path=/etc/passwd&limit=x"},
                    400,
                    kInvalid,
                    "invalid query parameter 'limit': x"},
        RefusalCase{
            "download_both",
            {.target = "/files/download?path=/etc/passwd&limit=1", .lines = "Range: bytes=0-1\r\n"},
            400,
            kInvalid,
            "mutually exclusive"},
        RefusalCase{"list_without",
                    {.target = "/directories/list"},
                    400,
                    "MISSING_QUERY",
                    "missing query parameter 'path'"},
        RefusalCase{"list_depth",
                    {.target = "/directories/list?path=/tmp&depth=-1"},
                    400,
                    kInvalid,
                    "invalid query parameter 'depth': -1"},
        RefusalCase{"list_file",
                    {.target = "/directories/list?path=/etc/passwd"},
                    400,
                    kInvalid,
                    "path is not a directory: /etc/passwd"},
        RefusalCase{"list_missing",
                    {.target = "/directories/list?path=/nope"},
                    404,
                    "FILE_NOT_FOUND",
                    "not found"},
        RefusalCase{"make_body", Posting("/directories", "[]"), 400, kInvalid, kUnparsable},
        RefusalCase{"make_over_a_file", Posting("/directories", R"({"/etc/passwd":{}})"), 409,
                    "CONFLICT", "error creating directory /etc/passwd. "}),
    [](const auto& test) { return test.param.name; });

FaceRequest Uploading(std::string body, const char* line = kMultipartLine) {
  return {.method = "POST", .target = "/files/upload", .body = std::move(body), .lines = line};
}
const std::string kEnd = "--xyz--\r\n";

INSTANTIATE_TEST_SUITE_P(
    Uploads, FaceRefusalTest,
    ::testing::Values(
        RefusalCase{"no_multipart", Uploading("{}", "Content-Type: application/json\r\n"), 400,
                    "INVALID_FILE", "multipart form is empty"},
        RefusalCase{"no_type", Uploading("{}", ""), 400, "INVALID_FILE", "multipart form is empty"},
        RefusalCase{"broken", Uploading("--xyz\r\nnonsense"), 400, "INVALID_FILE", ""},
        RefusalCase{"no_metadata", Uploading(Part("file", "f", "x") + kEnd), 400,
                    "INVALID_FILE_METADATA", "metadata file is missing"},
        RefusalCase{
            "metadata_is_no_file",
            Uploading(Part("metadata", "", R"({"path":"/tmp/a"})") + Part("file", "f", "x") + kEnd),
            400, "INVALID_FILE_METADATA", "metadata file is missing"},
        RefusalCase{"no_file", Uploading(Part("metadata", "m", R"({"path":"/tmp/a"})") + kEnd), 400,
                    "INVALID_FILE_CONTENT", "file is missing"},
        RefusalCase{"counts",
                    Uploading(Part("metadata", "m", R"({"path":"/tmp/a"})") +
                              Part("file", "f", "x") + Part("file", "f", "x") + kEnd),
                    400, "INVALID_FILE", "metadata and file count mismatch: 1 vs 2"},
        RefusalCase{"no_json",
                    Uploading(Part("metadata", "m", "x") + Part("file", "f", "x") + kEnd), 400,
                    "INVALID_FILE_METADATA", "invalid metadata format. "},
        RefusalCase{"no_path",
                    Uploading(Part("metadata", "m", "{}") + Part("file", "f", "x") + kEnd), 400,
                    "INVALID_FILE_METADATA", "metadata path is empty"},
        RefusalCase{"metadata_too_long",
                    Uploading(Part("metadata", "m", std::string(70'000, ' ')) + kEnd), 400,
                    "INVALID_FILE_METADATA", "64 KiB"},
        RefusalCase{
            "onto_a_directory",
            Uploading(Part("metadata", "m", R"({"path":"/tmp"})") + Part("file", "f", "x") + kEnd),
            409, "CONFLICT", "error uploading file. "},
        RefusalCase{"onto_an_undefined_variable",
                    Uploading(Part("metadata", "m", R"({"path":"$NOPE/a"})") +
                              Part("file", "f", "x") + kEnd),
                    400, "INVALID_FILE_METADATA", "undefined environment variables: NOPE"}),
    [](const auto& test) { return test.param.name; });

INSTANTIATE_TEST_SUITE_P(Rest, FaceRefusalTest,
                         ::testing::Values(RefusalCase{"isolated",
                                                       Posting("/v1/isolated/session", "{}"), 503,
                                                       "SERVICE_UNAVAILABLE", "isolated"},
                                           RefusalCase{"init", Posting("/internal/init", "{}"), 501,
                                                       "NOT_SUPPORTED", ""},
                                           RefusalCase{"too_long",
                                                       {.method = "POST",
                                                        .target = "/command",
                                                        .lines = "Content-Length: 99999999\r\n"},
                                                       413,
                                                       kInvalid,
                                                       ""}),
                         [](const auto& test) { return test.param.name; });

TEST(FaceHttpTest, SaysThatThereIsNoFurtherIsolation) {
  const auto answer = FaceServer::Shared().Get("/v1/isolated/capabilities");
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(Parse(answer.body)["available"], false);
}

TEST(FaceHttpTest, MeasuresTheSandbox) {
  FaceServer& server = FaceServer::Shared();
  const Json metrics = Parse(server.Get("/metrics").body);
  EXPECT_GT(metrics["cpu_count"].get<double>(), 0);
  EXPECT_GE(metrics["cpu_used_pct"].get<double>(), 0);
  EXPECT_LE(metrics["cpu_used_pct"].get<double>(), 100);
  EXPECT_GT(metrics["mem_total_mib"].get<double>(), 0);
  EXPECT_LE(metrics["mem_used_mib"].get<double>(), metrics["mem_total_mib"].get<double>());
  EXPECT_GT(metrics["timestamp"].get<std::int64_t>(), 1'700'000'000'000);

  http::HttpClient client(server.port());
  client.Send("GET /metrics/watch HTTP/1.1\r\nHost: test\r\n\r\n");
  std::string text;
  const auto two = [&] {
    client.ReadMore(std::chrono::seconds(5), &text);
    const std::size_t first = text.find("}\n");
    return first != std::string::npos && text.find("}\n", first + 2) != std::string::npos;
  };
  EXPECT_TRUE(http::Eventually(two)) << text;
  EXPECT_THAT(text, HasSubstr("text/event-stream"));
}

}  // namespace
}  // namespace forkbox::tests
