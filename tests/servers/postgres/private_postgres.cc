#include "tests/servers/postgres/private_postgres.h"

#include <signal.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <pqxx/pqxx>

#include "base/check.h"

namespace forkbox::tests {
namespace {

// The fourth field of /proc/PID/stat; the second may hold anything, but ends with the last ')'.
pid_t ParentOf(const std::filesystem::path& process) {
  std::ifstream in(process / "stat");
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  const std::size_t end = text.rfind(')');
  if (end == std::string::npos || end + 4 > text.size()) return -1;
  return std::atoi(text.c_str() + end + 4);
}

}  // namespace

PrivatePostgres::PrivatePostgres() : script_(FORKBOX_PRIVATE_POSTGRES, ServerScript::FreePorts(1)) {
  script_.Start();
}

std::string PrivatePostgres::Url(const std::string& database, Via via) const {
  const std::string port = std::to_string(script_.port());
  if (via == Via::kTcp) return "postgres://forkbox@127.0.0.1:" + port + "/" + database;
  return "postgres://forkbox@/" + database + "?host=" + script_.directory().string() +
         "&port=" + port;
}

std::string PrivatePostgres::NewDatabase(Via via) {
  const std::string name = "test_" + std::to_string(++databases_);
  pqxx::connection connection(url());
  pqxx::nontransaction(connection).exec("CREATE DATABASE " + name + " TEMPLATE template0");
  return Url(name, via);
}

std::vector<pid_t> PrivatePostgres::Children() const {
  std::vector<pid_t> children;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const pid_t pid = std::atoi(entry.path().filename().c_str());
    if (pid > 0 && ParentOf(entry.path()) == script_.server()) children.push_back(pid);
  }
  return children;
}

void PrivatePostgres::Kill() {
  Freeze();  // so that there are no new ones
  const std::vector<pid_t> children = Children();
  // The server first: of a dead child it would make a restart of its own.
  script_.Kill();
  for (const pid_t pid : children) ::kill(pid, SIGKILL);
}

void PrivatePostgres::Freeze() const {
  FORKBOX_CHECK(::kill(script_.server(), SIGSTOP) == 0);
  for (const pid_t pid : Children()) ::kill(pid, SIGSTOP);
}

void PrivatePostgres::Thaw() const {
  for (const pid_t pid : Children()) ::kill(pid, SIGCONT);
  FORKBOX_CHECK(::kill(script_.server(), SIGCONT) == 0);
}

}  // namespace forkbox::tests
