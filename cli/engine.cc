#include "cli/engine.h"

#include <signal.h>

#include <chrono>

#include "cli/installation.h"
#include "cli/privileges.h"
#include "runner/sandbox/transpiler.h"

namespace forkbox::cli {

Result<std::unique_ptr<sandbox::CompilingDriver>> StartEngine(const EngineOptions& options) {
  auto installation = Installation::Find();
  if (!installation) return Fail(installation.error());
  ::signal(SIGPIPE, SIG_IGN);
  sandbox::ProcessDriverOptions driver;
  driver.forkserver_path = installation->forkserver;
  driver.runtime_dir = installation->runtime_dir;
  driver.pool_size = options.pool_size;
  driver.max_sandboxes = options.max_sandboxes;
  driver.max_boxes = options.max_boxes;
  driver.only_language = options.only_language;
  driver.only_sessions = options.only_sessions;
  driver.log = options.log;
  auto process = sandbox::ProcessDriver::Start(std::move(driver));
  if (!process) return Fail(process.error());
  auto compiling = std::make_unique<sandbox::CompilingDriver>(
      std::move(*process), sandbox::CompilingDriverOptions{
                               .cache_bytes = options.artefact_cache_bytes, .log = options.log});
  sandbox::TranspilerOptions transpiler{.log = options.log};
  // For the one program that is run, or for the cells of one box.
  if (!options.only_language.empty() || options.only_sessions) transpiler.processes = 1;
  compiling->SetCompiler("typescript", std::make_unique<sandbox::Transpiler>(
                                           compiling->process(), std::move(transpiler)));
  return compiling;
}

Result<void> OpenEngine(sandbox::CompilingDriver& driver) {
  return driver.Open(std::chrono::steady_clock::now() + std::chrono::seconds(60));
}

Result<std::unique_ptr<sandbox::CompilingDriver>> OpenLocalEngine(const EngineOptions& options) {
  std::optional<FileOwner> user;
  if (IsRoot()) {
    auto made = EnsureServiceUser();
    if (!made) return Fail(made.error());
    user = *made;
  }
  auto driver = StartEngine(options);
  if (!driver) return driver;
  if (user) {
    if (auto dropped = DropPrivileges(*user); !dropped) return Fail(dropped.error());
  }
  if (auto opened = OpenEngine(**driver); !opened) return Fail(opened.error());
  return driver;
}

}  // namespace forkbox::cli
