// LanguageCatalog: which languages there are, by any of their names.
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
#include "runner/sandbox/driver.h"

namespace forkbox::api {

class LanguageCatalog {
 public:
  using Languages = std::vector<sandbox::LanguageStatus>;
  using Provider = std::function<Languages()>;  // must not block for long

  LanguageCatalog(Provider provider, const Clock& clock);

  [[nodiscard]] std::shared_ptr<const Languages> All();

  // By id or alias, in that exact spelling.
  [[nodiscard]] std::optional<sandbox::LanguageStatus> Find(std::string_view name);

  // Whether programs can be isolated that way; so far each runner has processes only.
  [[nodiscard]] static bool Offers(schema::Isolation isolation) {
    return isolation == schema::Isolation::kProcess;
  }

  // Every id and alias, ids first: "python, javascript, bash, node, js".
  [[nodiscard]] std::string KnownNames();

 private:
  const Provider provider_;
  const Clock& clock_;
  std::mutex mutex_;
  std::shared_ptr<const Languages> languages_;  // shared with readers, replaced as a whole
  SteadyTime read_at_{};
};

}  // namespace forkbox::api
