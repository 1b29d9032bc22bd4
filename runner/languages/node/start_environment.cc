#include "runner/languages/node/start_environment.h"

#include <algorithm>
#include <array>
#include <string_view>

namespace forkbox::javascript {
namespace {

// node(1) ENVIRONMENT and ld.so(8), less what is read when it is needed (NODE_ENV, NODE_PATH,
// NODE_TLS_REJECT_UNAUTHORIZED, FORCE_COLOR, UV_THREADPOOL_SIZE, …).
constexpr std::array<std::string_view, 22> kReadAtStart{
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "NODE_CHANNEL_FD",
    "NODE_COMPILE_CACHE",
    "NODE_DEBUG",
    "NODE_DEBUG_NATIVE",
    "NODE_DISABLE_COMPILE_CACHE",
    "NODE_ICU_DATA",
    "NODE_NO_WARNINGS",
    "NODE_OPTIONS",
    "NODE_PENDING_DEPRECATION",
    "NODE_PENDING_PIPE_INSTANCES",
    "NODE_PRESERVE_SYMLINKS",
    "NODE_PRESERVE_SYMLINKS_MAIN",
    "NODE_REDIRECT_WARNINGS",
    "NODE_TEST_CONTEXT",
    "NODE_UNIQUE_ID",
    "NODE_USE_ENV_PROXY",
    "NODE_USE_SYSTEM_CA",
    "NODE_V8_COVERAGE",
    "OPENSSL_CONF",
    "OPENSSL_MODULES",
};

constexpr std::array<std::string_view, 3> kLocale{"LANG", "LC_ALL", "LC_MESSAGES"};

// The default locale of Intl is fixed at the start; these give the template's, en-US.
bool IsDefaultLocale(std::string_view value) {
  return value.empty() || value == "C" || value == "POSIX" || value.substr(0, 2) == "C." ||
         value.substr(0, 5) == "en_US";
}

template <class Names>
bool Contains(const Names& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

}  // namespace

void StripForbidden(Environment* environment) {
  std::erase_if(*environment,
                [](const auto& variable) { return variable.first == "NODE_EXTRA_CA_CERTS"; });
}

bool TakeSourceMaps(Environment* environment) {
  return std::erase_if(*environment, [](const auto& variable) {
           return variable.first == "FORKBOX_SOURCE_MAPS";
         }) > 0;
}

bool NeedsRealStart(const Environment& environment) {
  return std::any_of(environment.begin(), environment.end(), [](const auto& variable) {
    return Contains(kReadAtStart, variable.first) ||
           (Contains(kLocale, variable.first) && !IsDefaultLocale(variable.second));
  });
}

}  // namespace forkbox::javascript
