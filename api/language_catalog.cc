#include "api/language_catalog.h"

#include <algorithm>

namespace forkbox::api {
namespace {

constexpr std::chrono::seconds kFreshFor{1};

}  // namespace

LanguageCatalog::LanguageCatalog(Provider provider, const Clock& clock)
    : provider_(std::move(provider)), clock_(clock) {}

std::shared_ptr<const LanguageCatalog::Languages> LanguageCatalog::All() {
  const std::lock_guard lock(mutex_);
  const SteadyTime now = clock_.Now();
  // None is what a cluster has in its first moments: worth asking again.
  if (!languages_ || languages_->empty() || now - read_at_ >= kFreshFor) {
    languages_ = std::make_shared<const Languages>(provider_());
    read_at_ = now;
  }
  return languages_;
}

std::optional<sandbox::LanguageStatus> LanguageCatalog::Find(std::string_view name) {
  const auto languages = All();
  for (const sandbox::LanguageStatus& language : *languages) {
    if (language.id == name) return language;
  }
  for (const sandbox::LanguageStatus& language : *languages) {
    if (std::ranges::find(language.aliases, name) != language.aliases.end()) return language;
  }
  return std::nullopt;
}

std::string LanguageCatalog::KnownNames() {
  const auto languages = All();
  std::string names;
  const auto add = [&names](const std::string& name) {
    if (!names.empty()) names += ", ";
    names += name;
  };
  for (const sandbox::LanguageStatus& language : *languages) add(language.id);
  for (const sandbox::LanguageStatus& language : *languages) {
    for (const std::string& alias : language.aliases) add(alias);
  }
  return names;
}

}  // namespace forkbox::api
