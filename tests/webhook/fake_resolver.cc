#include "tests/webhook/fake_resolver.h"

#include <dlfcn.h>
#include <netdb.h>

#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <set>

namespace forkbox::tests {
namespace {

struct Names {
  std::mutex mutex;
  std::condition_variable changed;
  std::map<std::string, std::vector<std::string>> known;
  std::set<std::string> hanging;
};

Names& TheNames() {
  static Names* const names = new Names;  // threads that hang may outlive main
  return *names;
}

}  // namespace

void SetName(const std::string& name, std::vector<std::string> addresses) {
  const std::lock_guard lock(TheNames().mutex);
  TheNames().known[name] = std::move(addresses);
}

void HangName(const std::string& name) {
  const std::lock_guard lock(TheNames().mutex);
  TheNames().hanging.insert(name);
}

void LetNamesGo() {
  const std::lock_guard lock(TheNames().mutex);
  TheNames().hanging.clear();
  TheNames().changed.notify_all();
}

}  // namespace forkbox::tests

extern "C" int getaddrinfo(const char* node, const char* service, const addrinfo* hints,
                           addrinfo** result) {
  using forkbox::tests::TheNames;
  static const auto real =
      reinterpret_cast<decltype(&getaddrinfo)>(::dlsym(RTLD_NEXT, "getaddrinfo"));
  const std::string name = node != nullptr ? node : "";
  std::vector<std::string> addresses;
  {
    auto& names = TheNames();
    std::unique_lock lock(names.mutex);
    if (names.hanging.contains(name)) {
      names.changed.wait(lock, [&] { return !names.hanging.contains(name); });
      return EAI_AGAIN;
    }
    const auto known = names.known.find(name);
    if (known == names.known.end()) return real(node, service, hints, result);
    addresses = known->second;
  }
  addrinfo* first = nullptr;
  for (auto address = addresses.rbegin(); address != addresses.rend(); ++address) {
    addrinfo* one = nullptr;
    if (const int error = real(address->c_str(), service, hints, &one); error != 0) return error;
    one->ai_next = first;  // glibc frees a list one by one
    first = one;
  }
  *result = first;
  return first != nullptr ? 0 : EAI_NONAME;
}
