// forkbox run FILE: one program in a sandbox of this process, or on a server.

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/log.h"
#include "cli/command.h"
#include "cli/engine.h"
#include "cli/exit_code.h"
#include "cli/http_client.h"
#include "cli/privileges.h"
#include "cli/stop_signals.h"
#include "cli/virtual_machines.h"
#include "schema/json.h"

namespace forkbox::cli {

namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::size_t kMaxInputBytes = 64U << 20;

// By the usual endings of file names; --language says the rest.
std::string LanguageOf(const std::string& file) {
  static const std::map<std::string, std::string> kByExtension{
      {".py", "python"},     {".js", "javascript"},  {".cjs", "javascript"}, {".mjs", "javascript"},
      {".ts", "typescript"}, {".tsx", "typescript"}, {".mts", "typescript"}, {".cts", "typescript"},
      {".sh", "bash"},       {".bash", "bash"},      {".go", "go"},          {".rb", "ruby"},
      {".php", "php"},       {".pl", "perl"},        {".lua", "lua"},        {".c", "c"},
      {".cc", "cpp"},        {".cpp", "cpp"},        {".cxx", "cpp"},        {".java", "java"}};
  const auto found = kByExtension.find(std::filesystem::path(file).extension().string());
  return found == kByExtension.end() ? "" : found->second;
}

Result<std::string> ReadAll(std::istream& in, const std::string& name) {
  std::string text;
  char buffer[64 * 1024];
  while (in.read(buffer, sizeof buffer) || in.gcount() > 0) {
    text.append(buffer, static_cast<std::size_t>(in.gcount()));
    if (text.size() > kMaxInputBytes) {
      return Fail(ErrorCode::kInvalidArgument, name + " is larger than 64 MiB");
    }
  }
  return text;
}

void WriteAll(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(fd, text.data(), text.size());
    if (written <= 0) return;  // whoever read it has gone
    text.remove_prefix(static_cast<std::size_t>(written));
  }
}

// What a shell expects of a command that ended like this.
int ExitCodeOf(const schema::Outcome& outcome) {
  switch (outcome.reason) {
    case schema::Reason::kExited:
      return outcome.exit_code.value_or(kExitOurs);
    case schema::Reason::kSignalled:
    case schema::Reason::kOutOfMemory:
      return kExitSignalBase + outcome.signal.value_or(9);
    case schema::Reason::kWallTimeout:
    case schema::Reason::kCpuTimeout:
    case schema::Reason::kQueueDeadline:
      return kExitTimeout;
    case schema::Reason::kCompileFailed:
      return outcome.exit_code.value_or(1);
    case schema::Reason::kCancelled:
      return kExitSignalBase + 2;
    case schema::Reason::kSandboxFailed:
    case schema::Reason::kRunnerLost:
      return kExitOurs;
  }
  return kExitOurs;
}

class RunCommand final : public Command {
 public:
  explicit RunCommand(CLI::App& program)
      : app_(program.add_subcommand("run",
                                    "Run a local file in a sandbox and print what it prints")) {
    app_->add_option("file", file_, "The program; - reads it from standard input")->required();
    app_->add_option("args", args_, "Arguments of the program");
    app_->positionals_at_end();
    app_->add_option("-l,--language", language_, "Instead of going by the file's ending");
    app_->add_option("--timeout", timeout_, "Wall-clock seconds")
        ->check(CLI::Range(1, 3'600))
        ->capture_default_str();
    app_->add_option("--memory-mb", memory_mb_, "Memory limit; by default the language's")
        ->check(CLI::Range(8, 1 << 20));
    app_->add_option("--isolation", isolation_,
                     "process, or vm: a virtual machine, which has to boot first")
        ->check(CLI::IsMember({"process", "vm"}))
        ->capture_default_str();
    app_->add_option("--vm-image", vm_image_, "The folder of its image; else the installation's")
        ->envname("FORKBOX_VM_IMAGE");
    app_->add_flag("--json", json_, "Print the whole outcome as JSON instead of the output");
    app_->add_option("--url", url_, "Run it on this forkbox server instead of here");
    app_->add_option("--key", key_, "The API key for --url")->envname("FORKBOX_KEY");
    app_->footer(
        "\nStandard input is passed on unless it is a terminal. The exit code is the program's;\n"
        "128+n when signal n ended it, 124 at a time limit, 125 when the sandbox failed.\n"
        "\nExamples:\n"
        "  forkbox run hello.py\n"
        "  echo 'print(input())' > p.py; echo hi | forkbox run p.py\n"
        "  forkbox run --timeout 5 --json loop.js\n"
        "  forkbox run --url http://127.0.0.1:8080 hello.py\n");
  }

  CLI::App* app() const override { return app_; }

  int Run() override {
    if (language_.empty()) language_ = LanguageOf(file_);
    if (language_.empty()) {
      return Complain(kExitUsage, "--language is needed: " + file_ + " has no ending that I know");
    }
    schema::Source source;
    if (file_ == "-") {
      auto code = ReadAll(std::cin, "standard input");
      if (!code) return Complain(kExitUsage, code.error().message);
      source.code = std::move(*code);
    } else {
      std::ifstream in(file_, std::ios::binary);
      if (!in || std::filesystem::is_directory(file_)) {
        return Complain(kExitUsage, "cannot read " + file_);
      }
      auto code = ReadAll(in, file_);
      if (!code) return Complain(kExitUsage, code.error().message);
      source.code = std::move(*code);
      if (::isatty(STDIN_FILENO) == 0 && url_.empty()) {
        auto data = ReadAll(std::cin, "standard input");
        if (!data) return Complain(kExitUsage, data.error().message);
        source.stdin_data = std::move(*data);
      }
    }
    source.args = args_;
    if (!url_.empty()) {
      if (isolation_ != "process") {
        return Complain(kExitUsage, "--isolation: a server decides that for what comes this way");
      }
      return RunThere(source);
    }
    return isolation_ == "vm" ? RunInMachine(source) : RunHere(source);
  }

 private:
  int RunHere(const schema::Source& source) {
    EngineOptions options;
    options.pool_size = 0;
    options.max_sandboxes = 16;
    options.only_language = language_;
    auto driver = OpenLocalEngine(options);
    if (!driver) {
      const bool usage = driver.error().code == ErrorCode::kInvalidArgument;
      return Complain(usage ? kExitUsage : kExitOurs, driver.error().message);
    }
    return RunBy(**driver, source);
  }

  // A template for one program: all of what a server does once.
  int RunInMachine(const schema::Source& source) {
    std::optional<FileOwner> user;
    if (IsRoot()) {
      auto made = EnsureServiceUser();
      if (!made) return Complain(kExitOurs, made.error().message);
      user = *made;
    }
    VirtualMachinesOptions options;
    options.wanted = VirtualMachinesOptions::Wanted::kOn;
    options.image_dir = vm_image_;
    options.pool_size = 0;
    options.max_machines = 4;
    auto machines = VirtualMachines::Start(std::move(options));
    if (!machines) return Complain(kExitOurs, machines.error().message);
    if (user) {
      if (auto dropped = DropPrivileges(*user); !dropped) {
        return Complain(kExitOurs, dropped.error().message);
      }
    }
    std::fprintf(stderr, "forkbox: booting a virtual machine …\n");
    (*machines)->Open();
    const auto ready =
        (*machines)->WaitUntilReady(std::chrono::steady_clock::now() + kBootPatience);
    if (!ready) return Complain(kExitOurs, ready.error().message);
    return RunBy(*(*machines)->driver(), source);
  }

  int RunBy(sandbox::Driver& driver, const schema::Source& source) {
    schema::Limits limits;
    std::string id = language_;
    for (const auto& language : driver.Languages()) {
      const bool named = language.id == language_ ||
                         std::find(language.aliases.begin(), language.aliases.end(), language_) !=
                             language.aliases.end();
      if (!named) continue;
      limits = language.default_limits;
      id = language.id;
    }
    limits.wall = limits.cpu = seconds(static_cast<std::int64_t>(timeout_));
    limits.output_bytes = 64U << 20;
    if (memory_mb_ != 0) limits.memory_bytes = static_cast<std::uint64_t>(memory_mb_) << 20;

    auto sandbox = driver.ForkFor(id, limits, source.code);
    if (!sandbox) {
      const bool usage = sandbox.error().code == ErrorCode::kInvalidArgument;
      return Complain(usage ? kExitUsage : kExitOurs, sandbox.error().message);
    }
    auto signals = StopSignals::Install();
    std::atomic<bool> ended = false;
    std::jthread watcher([&] {
      while (signals && !ended) {
        if (signals->Wait(milliseconds(50))) (*sandbox)->Cancel();
      }
    });
    const auto print = [](const schema::Event& event) {
      if (event.kind == schema::EventKind::kStdout) WriteAll(STDOUT_FILENO, event.data);
      if (event.kind == schema::EventKind::kStderr) WriteAll(STDERR_FILENO, event.data);
    };
    const schema::Outcome outcome =
        (*sandbox)->Run(source, json_ ? sandbox::EventSink() : sandbox::EventSink(print));
    ended = true;
    watcher.join();

    if (json_) {
      std::printf("%s\n", schema::DumpJson(schema::ToJson(outcome)).c_str());
      return ExitCodeOf(outcome);
    }
    WriteAll(STDERR_FILENO, outcome.compile_output);  // warnings, too
    const bool told =
        outcome.reason == schema::Reason::kCompileFailed && !outcome.compile_output.empty();
    if (outcome.reason != schema::Reason::kExited && !told) {
      std::fprintf(stderr, "forkbox: %s%s%s\n",
                   std::string(schema::ToString(outcome.reason)).c_str(),
                   outcome.message.empty() ? "" : ": ", outcome.message.c_str());
    }
    return ExitCodeOf(outcome);
  }

  int RunThere(const schema::Source& source) {
    const nlohmann::json request{
        {"code", source.code}, {"language", language_}, {"timeout_seconds", timeout_}};
    while (url_.ends_with('/')) url_.pop_back();
    auto response = PostJson(url_ + "/v1/exec", key_, schema::DumpJson(request),
                             seconds(static_cast<std::int64_t>(timeout_) + 60));
    if (!response) {
      const bool usage = response.error().code == ErrorCode::kInvalidArgument;
      return Complain(usage ? kExitUsage : kExitOurs, response.error().message);
    }
    const auto body = schema::ParseJson(response->body, schema::kRowJsonLimits);
    if (!body || !body->is_object()) {
      return Complain(kExitOurs, url_ + " answered " + std::to_string(response->status) +
                                     " with something that is not JSON");
    }
    if (response->status != 200) {
      return Complain(kExitOurs, url_ + " answered " + std::to_string(response->status) + ": " +
                                     TextOf(*body, "error"));
    }
    const std::string error_text = TextOf(*body, "stderr");
    if (json_) {
      std::printf("%s\n", schema::DumpJson(*body).c_str());
    } else {
      WriteAll(STDOUT_FILENO, TextOf(*body, "stdout"));
      WriteAll(STDERR_FILENO, error_text);
    }
    const auto code = body->find("exit_code");
    const std::int64_t exit_code =
        code != body->end() && code->is_number_integer() ? code->get<std::int64_t>() : -1;
    if (exit_code >= 0 && exit_code <= 255) return static_cast<int>(exit_code);
    return error_text.starts_with("Execution timed out") ? kExitTimeout : kExitOurs;
  }

  static std::string TextOf(const nlohmann::json& object, const char* name) {
    const auto found = object.find(name);
    return found != object.end() && found->is_string() ? found->get<std::string>() : "";
  }

  CLI::App* const app_;
  std::string file_;
  std::vector<std::string> args_;
  std::string language_;
  std::size_t timeout_ = 30;
  std::size_t memory_mb_ = 0;
  std::string isolation_ = "process";
  std::string vm_image_;
  bool json_ = false;
  std::string url_;
  std::string key_;
};

}  // namespace

std::unique_ptr<Command> MakeRunCommand(CLI::App& program) {
  return std::make_unique<RunCommand>(program);
}

}  // namespace forkbox::cli
