// Files of the sandbox over HTTP.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "tests/execd/face_server.h"

namespace forkbox::tests {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

FaceServer& Server() { return FaceServer::Shared(); }

std::string Download(const std::string& path, const std::string& lines = "") {
  return Server().Get("/files/download?path=" + UrlEncode(path), lines).body;
}

TEST(FaceFilesTest, TakesAFileAndGivesItBack) {
  std::string content(100'000, '\0');
  std::iota(content.begin(), content.end(), '\0');
  const auto uploaded = Server().Upload({{"path", "/tmp/new/dir/a b.bin"}, {"mode", 640}}, content);
  EXPECT_EQ(uploaded.status, 200) << uploaded.body;
  EXPECT_EQ(uploaded.Header("Content-Length"), "0");
  const auto whole = Server().Get("/files/download?path=" + UrlEncode("/tmp/new/dir/a b.bin"));
  EXPECT_EQ(whole.status, 200);
  EXPECT_EQ(whole.body, content);
  EXPECT_EQ(whole.Header("Content-Type"), "application/octet-stream");
  EXPECT_EQ(whole.Header("Content-Disposition"), "attachment; filename=\"a b.bin\"");
  EXPECT_EQ(whole.Header("Accept-Ranges"), "bytes");
  EXPECT_EQ(whole.Header("Content-Length"), "100000");

  const std::string since = whole.Header("Last-Modified");
  EXPECT_THAT(since, HasSubstr(" GMT"));
  const std::string target = "/files/download?path=" + UrlEncode("/tmp/new/dir/a b.bin");
  EXPECT_EQ(Server().Get(target, "If-Modified-Since: " + since + "\r\n").status, 304);
  EXPECT_EQ(Server().Get(target, "If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT\r\n").status,
            200);

  const Json info =
      Parse(Server().Get("/files/info?path=" + UrlEncode("/tmp/new//dir/./a b.bin")).body);
  const Json& one = info["/tmp/new//dir/./a b.bin"];
  ASSERT_TRUE(one.is_object()) << info;
  EXPECT_EQ(one["path"], "/tmp/new/dir/a b.bin");
  EXPECT_EQ(one["type"], "file");
  EXPECT_EQ(one["size"], 100'000);
  EXPECT_EQ(one["mode"], 640);
  EXPECT_THAT(one["modified_at"].get<std::string>(), StartsWith("20"));
  EXPECT_TRUE(one["created_at"].is_string() && one["owner"].is_string());
}

struct RangeCase {
  const char* name;
  const char* range;
  int status;
  const char* body;
  const char* content_range;
};

class FaceRangeTest : public ::testing::TestWithParam<RangeCase> {};

TEST_P(FaceRangeTest, IsServed) {
  ASSERT_EQ(Server().Upload({{"path", "/tmp/digits"}}, "0123456789").status, 200);
  const auto answer = Server().Get("/files/download?path=/tmp/digits",
                                   "Range: " + std::string(GetParam().range) + "\r\n");
  EXPECT_EQ(answer.status, GetParam().status);
  EXPECT_EQ(answer.Header("Content-Range"), GetParam().content_range);
  EXPECT_TRUE(answer.complete);
  if (answer.status == 416) {
    EXPECT_EQ(Parse(answer.body)["code"], "UNKNOWN");
  } else {
    EXPECT_EQ(answer.body, GetParam().body);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Ranges, FaceRangeTest,
    ::testing::Values(RangeCase{"first", "bytes=0-3", 206, "0123", "bytes 0-3/10"},
                      RangeCase{"clamped", "bytes=8-100", 206, "89", "bytes 8-9/10"},
                      RangeCase{"open", "bytes=7-", 206, "789", "bytes 7-9/10"},
                      RangeCase{"suffix", "bytes=-2", 206, "89", "bytes 8-9/10"},
                      RangeCase{"several", "bytes=1-2,4-5", 206, "12", "bytes 1-2/10"},
                      RangeCase{"behind", "bytes=10-", 416, "", "bytes */10"},
                      RangeCase{"backwards", "bytes=5-2", 416, "", "bytes */10"},
                      RangeCase{"unit", "lines=1-2", 416, "", "bytes */10"}),
    [](const auto& test) { return test.param.name; });

TEST(FaceFilesTest, ServesAnEmptyFileWhateverTheRange) {
  Server().Shell(": >/tmp/empty");
  const auto answer = Server().Get("/files/download?path=/tmp/empty", "Range: bytes=0-\r\n");
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.Header("Content-Length"), "0");
}

TEST(FaceFilesTest, CutsLines) {
  Server().Shell("printf 'a\\r\\nb\\n\\nd' >/tmp/lines; seq 500000 >/tmp/many");
  const auto get = [](const char* query) {
    return Server().Get(std::string("/files/download?path=/tmp/") + query);
  };
  EXPECT_EQ(get("lines&offset=1").body, "a\nb\n\nd");
  EXPECT_EQ(get("lines&offset=2&limit=2").body, "b\n");
  EXPECT_EQ(get("lines&limit=1").body, "a");
  EXPECT_EQ(get("lines&offset=9").body, "");
  EXPECT_EQ(get("lines&offset=9").Header("Content-Length"), "0");
  EXPECT_EQ(get("lines&limit=1").Header("Content-Type"), "text/plain; charset=utf-8");
  EXPECT_EQ(get("many&offset=499999").body, "499999\n500000");
  std::string all;
  for (int i = 1; i <= 500'000; ++i) all += std::to_string(i) + "\n";
  all.pop_back();
  const auto streamed = get("many&offset=1");
  EXPECT_TRUE(streamed.complete);
  EXPECT_EQ(streamed.body == all, true);
}

TEST(FaceFilesTest, PairsMetadataAndFilesInAnyOrder) {
  const auto answer = Server().Ask(
      {.method = "POST",
       .target = "/files/upload",
       .body = Part("file", "f", "first") + Part("file", "f", std::string(300'000, 's')) +
               Part("note", "", "means nothing") +
               Part("metadata", "m", R"({"path":"/tmp/pairs/1","mode":600})") +
               Part("metadata", "m", R"({"path":"/tmp/pairs/2"})") +
               Part("metadata", "m", R"({"path":"/tmp/pairs/3"})") + Part("file", "f", "third") +
               "--xyz--\r\n",
       .lines = kMultipartLine});
  EXPECT_EQ(answer.status, 200) << answer.body;
  EXPECT_EQ(Server().Shell("cd /tmp/pairs; cat 1; echo; wc -c <2; cat 3; echo; stat -c %a 1 2 3"),
            "first\n300000\nthird\n600\n755\n755");
  EXPECT_EQ(Server().Shell("ls -A /tmp | grep -c upload"), "0");
}

// In chunks, of unknown length, larger than what the server may hold.
TEST(FaceFilesTest, StreamsALongUploadToTheDisk) {
  FaceServer server({"--memory-mb", "512", "--disk-mb", "200"});
  server.Upload({{"path", "/tmp/small"}}, "x");
  const std::size_t before = server.RssKib();
  http::HttpClient client(server.port());
  client.Send("POST /files/upload HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n" +
              std::string(kMultipartLine) + "\r\n");
  const auto chunk = [&](const std::string& data) {
    char size[32];
    std::snprintf(size, sizeof size, "%zx\r\n", data.size());
    return client.Send(size + data + "\r\n");
  };
  chunk(Part("metadata", "metadata", R"({"path":"/tmp/large"})"));
  chunk("--xyz\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\n");
  const std::string mebibyte(1U << 20, 'z');
  std::size_t most = 0;
  for (int i = 0; i < 64; ++i) {
    ASSERT_TRUE(chunk(mebibyte));
    if (i % 16 == 15) most = std::max(most, server.RssKib());
  }
  chunk("\r\n--xyz--\r\n");
  client.Send("0\r\n\r\n");
  const auto answer = client.Read(std::chrono::seconds(60));
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 200) << answer->body;
  EXPECT_LT(most, before + 16 * 1024);
  EXPECT_EQ(server.Shell("wc -c </tmp/large; tr -d z </tmp/large | wc -c"), "67108864\n0");

  // And one that does not fit.
  http::HttpClient other(server.port());
  other.Send("POST /files/upload HTTP/1.1\r\nHost: test\r\nContent-Length: 300000000\r\n" +
             std::string(kMultipartLine) + "\r\n" +
             Part("metadata", "metadata", R"({"path":"/tmp/larger"})") +
             "--xyz\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\n");
  for (int i = 0; i < 280 && other.Send(mebibyte); ++i) {
  }
  const auto full = other.Read(std::chrono::seconds(60));
  ASSERT_TRUE(full);
  EXPECT_EQ(full->status, 507);
  EXPECT_THAT(full->body, HasSubstr("INSUFFICIENT_STORAGE"));
  EXPECT_THAT(full->body, HasSubstr("o space left"));
  EXPECT_EQ(server.Shell("ls /tmp/larger 2>/dev/null; df --output=pcent /tmp | tail -1 | tr -d ' %'"
                         " | awk '{print ($1 < 60)}'"),
            "1");
}

TEST(FaceFilesTest, LeavesNothingOfAnUploadThatIsNotFinished) {
  Server().Upload({{"path", "/tmp/half/old"}}, "old");
  {
    http::HttpClient client(Server().port());
    client.Send("POST /files/upload HTTP/1.1\r\nHost: test\r\nContent-Length: 3000000\r\n" +
                std::string(kMultipartLine) + "\r\n" +
                Part("metadata", "metadata", R"({"path":"/tmp/half/old"})") +
                "--xyz\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\n" +
                std::string(1'000'000, 'n'));
  }
  EXPECT_TRUE(http::Eventually([] { return Server().Shell("ls -A /tmp/half") == "old"; }));
  EXPECT_EQ(Download("/tmp/half/old"), "old");
}

TEST(FaceFilesTest, ChangesWhatIsThere) {
  FaceServer& server = Server();
  server.Shell(
      "rm -rf /tmp/w; mkdir -p /tmp/w/sub; cd /tmp/w; echo 'a a b' >x.txt; echo 1 >sub/y.txt;"
      "ln -s x.txt link");
  EXPECT_EQ(server.Post("/files/replace", {{"/tmp/w/x.txt", {{"old", "a"}, {"new", "c"}}}}).body,
            "");
  EXPECT_EQ(
      server.Post("/files/replace?verbose=true", {{"/tmp/w/x.txt", {{"old", "c"}, {"new", "d"}}}})
          .body,
      R"({"/tmp/w/x.txt":{"replacedCount":2}})");
  EXPECT_EQ(
      server.Post("/files/replace?verbose=true", {{"/tmp/w/x.txt", {{"old", "zz"}, {"new", "d"}}}})
          .body,
      R"({"/tmp/w/x.txt":{"replacedCount":0}})");
  EXPECT_EQ(Download("/tmp/w/x.txt"), "d d b\n");

  const Json found =
      Parse(server.Get("/files/search?path=/tmp/w&pattern=" + UrlEncode("*.txt")).body);
  ASSERT_EQ(found.size(), 2U) << found;
  EXPECT_EQ(found[0]["path"], "/tmp/w/sub/y.txt");
  EXPECT_EQ(found[1]["path"], "/tmp/w/x.txt");

  EXPECT_EQ(server.Post("/files/permissions", {{"/tmp/w/x.txt", {{"mode", 600}}}}).status, 200);
  EXPECT_EQ(server.Shell("stat -c %a /tmp/w/x.txt"), "600");

  EXPECT_EQ(server.Post("/files/mv", Json::array({{{"src", "/tmp/w/sub"}, {"dest", "/tmp/w/n/s"}}}))
                .status,
            200);
  const auto exists =
      server.Post("/files/mv", Json::array({{{"src", "/tmp/w/x.txt"}, {"dest", "/tmp/w/link"}}}));
  EXPECT_EQ(exists.status, 409);
  EXPECT_THAT(exists.body, HasSubstr("destination path already exists: /tmp/w/link"));

  const Json listed = Parse(server.Get("/directories/list?path=/tmp/w&depth=3").body);
  std::vector<std::string> names;
  for (const Json& one : listed) names.push_back(one["path"].get<std::string>().substr(7));
  EXPECT_EQ(names, (std::vector<std::string>{"link", "n", "n/s", "n/s/y.txt", "x.txt"}));
  EXPECT_EQ(listed[0]["type"], "symlink");
  EXPECT_EQ(server.Get("/directories/list?path=/tmp/w&depth=0").body, "[]");
  EXPECT_EQ(Parse(server.Get("/directories/list?path=/tmp/w").body).size(), 3U);
  server.Shell("ln -s w /tmp/wlink");
  EXPECT_EQ(server.Get("/directories/list?path=/tmp/wlink").status, 400);

  EXPECT_EQ(server.Post("/directories", {{"/tmp/w/d/e", {{"mode", 700}}}}).status, 200);
  EXPECT_EQ(server.Shell("stat -c %a /tmp/w/d/e"), "700");
  EXPECT_EQ(server.Delete("/files?path=/tmp/w/x.txt&path=/tmp/w/link&path=/tmp/w/none").status,
            200);
  EXPECT_EQ(server.Delete("/directories?path=/tmp/w/n&path=/tmp/w/none").status, 200);
  EXPECT_EQ(server.Shell("ls -A /tmp/w"), "d");
}

TEST(FaceFilesTest, FindsPathsByVariablesAndHome) {
  FaceServer server({"--env", "PLACE=/tmp/place"});
  ASSERT_EQ(server.Upload({{"path", "${PLACE}/a"}}, "1").status, 200);
  ASSERT_EQ(server.Upload({{"path", "~/b"}}, "2").status, 200);
  ASSERT_EQ(server.Upload({{"path", "c"}}, "3").status, 200);
  EXPECT_EQ(server.Shell("cat /tmp/place/a /box/work/b /box/work/c"), "123");
}

}  // namespace
}  // namespace forkbox::tests
