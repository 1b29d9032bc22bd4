#include "api/auth/permission.h"

namespace forkbox::api {
namespace {

struct NamedPermission {
  std::string_view name;
  bool store::KeyPermissions::*member;
};
constexpr NamedPermission kPermissions[] = {
    {"full_access", &store::KeyPermissions::full_access},
    {"execute_only", &store::KeyPermissions::execute_only},
    {"read_only", &store::KeyPermissions::read_only},
};

}  // namespace

bool Allows(store::KeyPermissions permissions, Right right) {
  const auto& [full_access, execute_only, read_only] = permissions;
  switch (right) {
    case Right::kExecute:
      return full_access || execute_only;
    case Right::kReadExecutions:
    case Right::kReadAccount:
      return full_access || execute_only || read_only;
    case Right::kReadUsage:
      return full_access || read_only;
    case Right::kManageKeys:
      return full_access;
  }
  return false;
}

std::string_view PermissionsFor(Right right) {
  switch (right) {
    case Right::kExecute:
      return "full_access or execute_only";
    case Right::kReadExecutions:
    case Right::kReadAccount:
      return "full_access, execute_only or read_only";
    case Right::kReadUsage:
      return "full_access or read_only";
    case Right::kManageKeys:
      break;
  }
  return "full_access";
}

std::vector<std::string_view> NamesOf(store::KeyPermissions permissions) {
  std::vector<std::string_view> names;
  for (const auto& [name, member] : kPermissions) {
    if (permissions.*member) names.push_back(name);
  }
  return names;
}

bool AddPermission(std::string_view name, store::KeyPermissions* permissions) {
  for (const auto& [known, member] : kPermissions) {
    if (known != name) continue;
    permissions->*member = true;
    return true;
  }
  return false;
}

}  // namespace forkbox::api
