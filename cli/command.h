// A subcommand: adds itself to the program's options, and runs when it was chosen.
#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <vector>

namespace forkbox::cli {

class Command {
 public:
  virtual ~Command() = default;
  [[nodiscard]] virtual CLI::App* app() const = 0;  // owned by the program's CLI::App
  // Returns the exit code (exit_code.h). Called once, after parsing, with one thread running.
  virtual int Run() = 0;
};

// One file each: serve.cc, run.cc, execd.cc, keys.cc, accounts.cc, doctor.cc, vm.cc, bench.cc.
std::vector<std::unique_ptr<Command>> MakeServerCommands(CLI::App& program);
std::unique_ptr<Command> MakeRunCommand(CLI::App& program);
std::unique_ptr<Command> MakeExecdCommand(CLI::App& program);
std::unique_ptr<Command> MakeKeysCommand(CLI::App& program);
std::unique_ptr<Command> MakeAccountsCommand(CLI::App& program);
std::unique_ptr<Command> MakeDoctorCommand(CLI::App& program);
std::unique_ptr<Command> MakeVmCommand(CLI::App& program);
std::unique_ptr<Command> MakeBenchCommand(CLI::App& program);

// "forkbox: <text>" on stderr; returns `code`.
int Complain(int code, const std::string& text);

}  // namespace forkbox::cli
