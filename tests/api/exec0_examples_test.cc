// The Exec0 specification's own examples, with real clients against the real program: unchanged but
// for the host. Of those that keep the result in a variable, a last line prints it.

#include <gtest/gtest.h>
#include <stdio.h>
#include <sys/wait.h>

#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>

#include "tests/cli/forkbox_process.h"

namespace forkbox::tests {
namespace {

using nlohmann::json;

struct Example {
  const char* file;
  const char* program;  // what runs it
  const char* epilogue;
};

std::string Read(const std::string& path) {
  std::ifstream file(path);
  EXPECT_TRUE(file) << path;
  return {std::istreambuf_iterator<char>(file), {}};
}

// What the command printed; it must end well.
std::string Output(const std::string& command) {
  std::string printed;
  FILE* const pipe = ::popen(command.c_str(), "r");
  if (pipe == nullptr) return printed;
  char buffer[4096];
  for (std::size_t n = 0; (n = ::fread(buffer, 1, sizeof buffer, pipe)) > 0;) {
    printed.append(buffer, n);
  }
  const int status = ::pclose(pipe);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << command << ": " << status;
  return printed;
}

TEST(Exec0ExamplesTest, TheSpecificationsExamplesRunUnchangedButForTheHost) {
  TemporaryDirectory directory;
  std::ofstream(directory.path() / "keys.json") << R"(["exec0_abc123"])";
  ForkboxProcess server(directory.path(), {"serve", "--listen", "127.0.0.1:0", "--data-dir", "var",
                                           "--keys-file", "keys.json"});
  const std::string url = server.WaitForUrl();
  ASSERT_NE(url, "") << server.Stderr();

  for (const Example& example :
       {Example{"curl.sh", "/bin/sh", ""},
        Example{"fetch.mjs", FORKBOX_NODE, "\nconsole.log(JSON.stringify(result));\n"},
        Example{"post.py", "/usr/bin/python3", "\nimport json\nprint(json.dumps(result))\n"}}) {
    std::string text = Read(std::string(FORKBOX_EXAMPLES) + "/" + example.file);
    constexpr std::string_view kHost = "https://exec0.run";
    const std::size_t host = text.find(kHost);
    ASSERT_NE(host, std::string::npos);
    text.replace(host, kHost.size(), url);
    const std::string path = (directory.path() / example.file).string();
    std::ofstream(path) << text << example.epilogue;

    const std::string printed = Output(std::string(example.program) + " " + path + " 2>/dev/null");
    const json result = json::parse(printed, nullptr, false);
    ASSERT_TRUE(result.is_object()) << example.file << ": " << printed;
    EXPECT_EQ(result["status"], "completed") << printed;
    EXPECT_EQ(result["result"]["stdout"], "Hello, World!\n") << printed;
    EXPECT_EQ(result["result"]["stderr"], "") << printed;
    EXPECT_EQ(result["result"]["exitCode"], 0) << printed;
    EXPECT_EQ(result["result"]["compilationOutput"], "") << printed;
    EXPECT_EQ(result["language"], "javascript") << printed;
    EXPECT_TRUE(result["executionTime"].is_number_integer()) << printed;
    EXPECT_GT(result["memoryUsed"].get<double>(), 0) << printed;
    EXPECT_TRUE(result["id"].get<std::string>().starts_with("exec_")) << printed;
  }
}

}  // namespace
}  // namespace forkbox::tests
