#include "api/language_catalog.h"

#include <algorithm>

namespace forkbox::api {
namespace {

constexpr std::chrono::seconds kFreshFor{1};

}  // namespace

LanguageCatalog::LanguageCatalog(Provider provider, const Clock& clock, VmProvider vm)
    : provider_(std::move(provider)), vm_provider_(std::move(vm)), clock_(clock) {}

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

std::shared_ptr<const runner::VmService> LanguageCatalog::Vm() {
  if (!vm_provider_) return nullptr;
  const std::lock_guard lock(mutex_);
  const SteadyTime now = clock_.Now();
  if (!vm_read_at_ || now - *vm_read_at_ >= kFreshFor) {
    std::optional<runner::VmService> vm = vm_provider_();
    vm_ = vm ? std::make_shared<const runner::VmService>(std::move(*vm)) : nullptr;
    vm_read_at_ = now;
  }
  return vm_;
}

std::optional<sandbox::LanguageStatus> LanguageCatalog::Find(std::string_view name) {
  const auto of_processes = All();
  const auto vm = Vm();
  const Languages none;
  const Languages* const lists[] = {of_processes.get(), vm == nullptr ? &none : &vm->languages};
  for (const Languages* const languages : lists) {
    for (const sandbox::LanguageStatus& language : *languages) {
      if (language.id == name) return language;
    }
    for (const sandbox::LanguageStatus& language : *languages) {
      if (std::ranges::find(language.aliases, name) != language.aliases.end()) return language;
    }
  }
  return std::nullopt;
}

std::string LanguageCatalog::KnownNames() {
  Languages known = *All();
  if (const auto vm = Vm()) {
    for (const sandbox::LanguageStatus& language : vm->languages) {
      const bool is_known =
          std::ranges::find(known, language.id, &sandbox::LanguageStatus::id) != known.end();
      if (!is_known) known.push_back(language);
    }
  }
  std::string names;
  const auto add = [&names](const std::string& name) {
    if (!names.empty()) names += ", ";
    names += name;
  };
  for (const sandbox::LanguageStatus& language : known) add(language.id);
  for (const sandbox::LanguageStatus& language : known) {
    for (const std::string& alias : language.aliases) add(alias);
  }
  return names;
}

}  // namespace forkbox::api
