// forkbox: the program. Each subcommand is a file of its own; this one picks.

#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include "cli/command.h"
#include "cli/exit_code.h"

namespace forkbox::cli {

int Complain(int code, const std::string& text) {
  std::fprintf(stderr, "forkbox: %s\n", text.c_str());
  return code;
}

namespace {

int Main(int argc, char** argv) {
  CLI::App program("Runs untrusted code, each program in a fresh fork of a warm sandbox.");
  program.name("forkbox");
  program.set_version_flag("--version", std::string("forkbox ") + FORKBOX_VERSION);
  program.set_help_flag("-h,--help", "Print this and exit");
  program.get_formatter()->column_width(34);
  program.require_subcommand(0, 1);
  program.footer(
      "\nStart here:\n"
      "  forkbox serve                       an HTTP API on 127.0.0.1:8080, nothing to set up\n"
      "  forkbox run hello.py                run a file in a sandbox, right here\n"
      "  forkbox doctor                      what this host can isolate with, and what it lacks\n"
      "\nEach command explains itself: forkbox serve --help\n");

  std::vector<std::unique_ptr<Command>> commands = MakeServerCommands(program);
  commands.push_back(MakeRunCommand(program));
  commands.push_back(MakeExecdCommand(program));
  commands.push_back(MakeKeysCommand(program));
  commands.push_back(MakeAccountsCommand(program));
  commands.push_back(MakeDoctorCommand(program));
  commands.push_back(MakeVmCommand(program));
  commands.push_back(MakeBenchCommand(program));

  try {
    program.parse(argc, argv);
  } catch (const CLI::Success& wanted) {  // --help, --version
    return program.exit(wanted);
  } catch (const CLI::ParseError& error) {
    return Complain(kExitUsage, std::string(error.what()) + " (see forkbox --help)");
  }
  for (const auto& command : commands) {
    if (command->app()->parsed()) return command->Run();
  }
  std::fputs(program.help().c_str(), stdout);
  return kExitUsage;
}

}  // namespace
}  // namespace forkbox::cli

int main(int argc, char** argv) {
  try {
    return forkbox::cli::Main(argc, argv);
  } catch (const std::exception& error) {  // out of memory, out of threads
    std::fprintf(stderr, "forkbox: %s\n", error.what());
    return forkbox::cli::kExitFailure;
  }
}
