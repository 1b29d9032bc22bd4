// Every program of programs/python does the same under the stock interpreter of this machine and
// in a sandbox: same streams to the byte, same exit code or signal. The stock run is the
// expectation, so that none of ours has to be written down.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <spawn.h>
#include <sys/wait.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "schema/utf8.h"
#include "tests/sandbox/sandbox_contract.h"

namespace forkbox::sandbox::testing {
namespace {

namespace fs = std::filesystem;
using schema::Outcome;
using schema::Reason;

constexpr const char* kPrograms = FORKBOX_TEST_PROGRAMS "/python";

std::vector<std::string> Programs() {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(kPrograms)) {
    if (entry.path().extension() == ".py") names.push_back(entry.path().stem());
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<schema::SourceFile> Neighbours() {
  std::vector<schema::SourceFile> files;
  const fs::path folder = fs::path(kPrograms) / "beside";
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file() && entry.path().extension() == ".py") {
      files.push_back({fs::relative(entry.path(), folder), ReadFile(entry.path())});
    }
  }
  return files;
}

struct StockRun {
  int wait_status = 0;
  std::string out;
  std::string err;
};

void ReplaceAll(std::string* text, const std::string& from, const std::string& to) {
  for (std::size_t at = 0; (at = text->find(from, at)) != std::string::npos; at += to.size()) {
    text->replace(at, from.size(), to);
  }
}

// `python3 /box/work/main.py` as far as the program can tell, but in a folder of the host.
StockRun RunStock(const Job& job) {
  char pattern[] = "/tmp/forkbox-stock-XXXXXX";
  const fs::path top = ::mkdtemp(pattern);
  const fs::path work = top / "work";
  fs::create_directory(work);
  for (const auto& file : job.source.files) {
    fs::create_directories((work / file.path).parent_path());
    std::ofstream(work / file.path, std::ios::binary) << file.content;
  }
  std::ofstream(work / "main.py", std::ios::binary) << job.source.code;
  std::ofstream(top / "stdin", std::ios::binary) << job.source.stdin_data;

  // Pipes, as in a sandbox: programs look at what kind of file their streams are.
  std::vector<std::string> words = {
      "/bin/bash", "-c",
      "cd " + work.string() +
          " && { /usr/bin/python3 \"$@\" 2>&3 | cat > ../out; "
          "exit ${PIPESTATUS[0]}; } 3>&1 < <(cat ../stdin) | cat > ../err; "
          "exit ${PIPESTATUS[0]}",
      "bash", (work / "main.py").string()};
  for (const auto& arg : job.source.args) words.push_back(arg);
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  std::vector<std::string> names = {"PATH=/usr/local/bin:/usr/bin:/bin",
                                    "HOME=" + work.string(),
                                    "TMPDIR=/tmp",
                                    "LANG=C.UTF-8",
                                    "USER=sandbox",
                                    "LOGNAME=sandbox",
                                    "SHELL=/bin/bash",
                                    "OPENBLAS_NUM_THREADS=1",
                                    "OMP_NUM_THREADS=1"};
  std::vector<char*> envp;
  for (std::string& name : names) envp.push_back(name.data());
  envp.push_back(nullptr);
  pid_t pid = -1;
  StockRun run;
  EXPECT_EQ(::posix_spawn(&pid, argv[0], nullptr, nullptr, argv.data(), envp.data()), 0);
  EXPECT_EQ(::waitpid(pid, &run.wait_status, 0), pid);
  run.out = ReadFile(top / "out");
  run.err = ReadFile(top / "err");
  ReplaceAll(&run.out, work, "/box/work");
  ReplaceAll(&run.err, work, "/box/work");
  fs::remove_all(top);
  return run;
}

// Addresses differ from run to run.
std::string WithoutAddresses(std::string text) {
  for (std::size_t at = 0; (at = text.find("0x7", at)) != std::string::npos;) {
    std::size_t end = at + 2;
    while (end < text.size() && std::isxdigit(static_cast<unsigned char>(text[end])) != 0) ++end;
    text.replace(at, end - at, "0x");
    ++at;
  }
  return text;
}

TEST_P(PythonSemantics, AreThoseOfTheStockInterpreter) {
  if (!IsReady(driver(), "python")) GTEST_SKIP() << "this driver has no python";
  const auto neighbours = Neighbours();
  const char* only = std::getenv("FORKBOX_TEST_PROGRAM");
  for (const std::string& name : Programs()) {
    if (only != nullptr && name != only) continue;
    SCOPED_TRACE(name);
    Job job = Python(ReadFile(std::string(kPrograms) + "/" + name + ".py"));
    const std::string stdin_path = std::string(kPrograms) + "/" + name + ".stdin";
    if (fs::exists(stdin_path)) job.source.stdin_data = ReadFile(stdin_path);
    job.source.files = neighbours;
    job.source.args = {"one", "two words", "é"};
    const StockRun stock = RunStock(job);
    const Outcome outcome = Run(job);
    EXPECT_EQ(WithoutAddresses(outcome.stdout_text),
              WithoutAddresses(schema::ToValidUtf8(stock.out)));
    EXPECT_EQ(WithoutAddresses(outcome.stderr_text),
              WithoutAddresses(schema::ToValidUtf8(stock.err)));
    // The shell says 128+n for a signal.
    const int said = outcome.signal ? 128 + *outcome.signal : outcome.exit_code.value_or(-1);
    EXPECT_EQ(said, WEXITSTATUS(stock.wait_status)) << Describe(outcome);
  }
}

TEST_P(PythonSemantics, NumpyIsThere) {
  const Outcome outcome = Run(Python("import numpy\nprint(numpy.zeros(3).sum())"));
  EXPECT_EQ(outcome.stdout_text, "0.0\n") << Describe(outcome);
}

TEST_P(PythonSemantics, WhatWasPrintedBeforeATimeoutIsThere) {
  Job job = Python("print('line')\nprint('more')\nwhile True: pass");
  job.limits.cpu = std::chrono::milliseconds(100);
  const Outcome outcome = Run(job);
  EXPECT_EQ(outcome.reason, Reason::kCpuTimeout) << Describe(outcome);
  EXPECT_EQ(outcome.stdout_text, "line\nmore\n");
}

}  // namespace
}  // namespace forkbox::sandbox::testing
