// LanguageCatalog: which languages there are, by any of their names, and the virtual machines that
// have some of them, too.
//
// Thread-safe. What the provider says is kept for a second: it may have to ask another process, and
// every request wants to know.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "runner/runner_details.h"
#include "runner/sandbox/driver.h"

namespace forkbox::api {

class LanguageCatalog {
 public:
  using Languages = std::vector<sandbox::LanguageStatus>;
  using Provider = std::function<Languages()>;                           // must not block for long
  using VmProvider = std::function<std::optional<runner::VmService>()>;  // nor must this

  // Without `vm` there are no virtual machines.
  LanguageCatalog(Provider provider, const Clock& clock, VmProvider vm = {});

  // Of processes.
  [[nodiscard]] std::shared_ptr<const Languages> All();

  // Null where there are none.
  [[nodiscard]] std::shared_ptr<const runner::VmService> Vm();

  // By id or alias, in that exact spelling; what only virtual machines have is found, too.
  [[nodiscard]] std::optional<sandbox::LanguageStatus> Find(std::string_view name);

  // Every id and alias that Find() finds, ids first: "python, javascript, bash, node, js".
  [[nodiscard]] std::string KnownNames();

 private:
  const Provider provider_;
  const VmProvider vm_provider_;
  const Clock& clock_;
  std::mutex mutex_;
  std::shared_ptr<const Languages> languages_;  // shared with readers, replaced as a whole
  SteadyTime read_at_{};
  std::shared_ptr<const runner::VmService> vm_;  // likewise
  std::optional<SteadyTime> vm_read_at_;
};

}  // namespace forkbox::api
