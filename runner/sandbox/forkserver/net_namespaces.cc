#include "runner/sandbox/forkserver/net_namespaces.h"

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <array>
#include <string>
#include <string_view>

namespace forkbox::sandbox {
namespace {

constexpr std::size_t kMostKept = 64;

// Of the calling thread's network namespace.
std::string ReadNet(const char* name) {
  const std::string path = std::string("/proc/thread-self/net/") + name;
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::string text;
  std::array<char, 4096> buffer;
  ssize_t n = 0;
  while (file && (n = ::read(file.get(), buffer.data(), buffer.size())) > 0) {
    text.append(buffer.data(), static_cast<std::size_t>(n));
  }
  return text;
}

bool Contains(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

// proc(5), /proc/net/sockstat: counts of this namespace, except TCP's alloc and mem, which are the
// machine's.
bool NoSockets() {
  const std::string sockets = ReadNet("sockstat");
  return Contains(sockets, "sockets: used 0\n") &&
         Contains(sockets, "TCP: inuse 0 orphan 0 tw 0 ") && Contains(sockets, "UDP: inuse 0 ") &&
         Contains(sockets, "RAW: inuse 0\n") && Contains(sockets, "FRAG: inuse 0 ");
}

// What a program can change although it has no privileges: every counter of the protocols (a packet
// over the loopback is counted, and so is a connect() that finds no route), and leases of IPv6 flow
// labels, which outlive their socket.
std::string Traces() { return ReadNet("snmp") + ReadNet("snmp6") + ReadNet("ip6_flowlabel"); }

}  // namespace

NetNamespaces::NetNamespaces()
    : own_(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)), traces_of_none_(Traces()) {}

UniqueFd NetNamespaces::Take() {
  if (kept_.empty()) return {};
  UniqueFd taken = std::move(kept_.back());
  kept_.pop_back();
  return taken;
}

void NetNamespaces::GiveBack(UniqueFd net_namespace) {
  if (!own_ || !net_namespace || kept_.size() >= kMostKept) return;
  if (::setns(net_namespace.get(), CLONE_NEWNET) != 0) return;
  const bool as_new = NoSockets() && Traces() == traces_of_none_;
  if (::setns(own_.get(), CLONE_NEWNET) != 0) ::_exit(1);  // we would be in a stranger's network
  if (as_new) kept_.push_back(std::move(net_namespace));
}

UniqueFd OpenNetNamespace(pid_t pid) {
  const std::string path = "/proc/" + std::to_string(pid) + "/ns/net";
  return UniqueFd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
}

}  // namespace forkbox::sandbox
