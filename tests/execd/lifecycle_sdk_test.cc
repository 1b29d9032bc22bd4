// The npm package @alibaba-group/opensandbox, as published, drives `forkbox serve`.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <string>

#include "tests/cli/forkbox_process.h"

namespace forkbox::tests {
namespace {

// What the script says, and how it ends.
std::string RunSdk(const std::string& arguments, int* status) {
  const std::string command = std::string(FORKBOX_NODE) + " " + FORKBOX_SDK_SCRIPT + " " +
                              FORKBOX_SDK + " " + arguments + " 2>&1";
  std::FILE* pipe = ::popen(command.c_str(), "r");
  std::string said;
  std::array<char, 4096> buffer;
  while (pipe != nullptr) {
    const std::size_t n = std::fread(buffer.data(), 1, buffer.size(), pipe);
    if (n == 0) break;
    said.append(buffer.data(), n);
  }
  *status = pipe == nullptr ? -1 : ::pclose(pipe);
  return said;
}

void ExpectAllStories(const std::string& arguments) {
  int status = -1;
  const std::string said = RunSdk(arguments, &status);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << said;
  for (const char* story :
       {"commands", "files", "lifecycle", "manager", "proxied", "refusals", "kill"}) {
    EXPECT_NE(said.find("ok " + std::string(story) + "\n"), std::string::npos) << story << said;
  }
}

TEST(OpenSandboxSdkTest, WorksWithoutKeys) {
  TemporaryDirectory directory;
  ForkboxProcess server(directory.path(), {"serve", "--listen", "127.0.0.1:0"});
  const std::string url = server.WaitForUrl();
  ASSERT_NE(url, "") << server.Stderr();
  ExpectAllStories(url.substr(7));
}

TEST(OpenSandboxSdkTest, WorksWithAKey) {
  TemporaryDirectory directory;
  ForkboxProcess keys(directory.path(), {"keys", "create", "--label", "sdk"});
  ASSERT_EQ(keys.Wait(), 0) << keys.Stderr();
  const std::string key = keys.Stdout().substr(0, keys.Stdout().find('\n'));
  ASSERT_NE(key, "") << keys.Stdout();
  ForkboxProcess server(directory.path(), {"serve", "--listen", "127.0.0.1:0"});
  const std::string url = server.WaitForUrl();
  ASSERT_NE(url, "") << server.Stderr();
  ExpectAllStories(url.substr(7) + " " + key + " true");
  int status = 0;
  const std::string refused = RunSdk(url.substr(7) + " not-a-key", &status);
  EXPECT_NE(status, 0);
  EXPECT_NE(refused.find("INVALID_API_KEY"), std::string::npos) << refused;
}

}  // namespace
}  // namespace forkbox::tests
