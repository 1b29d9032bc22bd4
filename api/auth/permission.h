// What a key may do: Exec0's matrix of permissions, which every dialect keeps to.
//
//   right             full_access  execute_only  read_only
//   kExecute          yes          yes           no         run, cancel, deliver again
//   kReadExecutions   yes          yes           yes        executions, their events and deliveries
//   kReadUsage        yes          no            yes
//   kReadAccount      yes          yes           yes        limits, languages, the queue
//   kManageKeys       yes          no            no         keys, webhook secrets, the audit log
//
// A key with several has what any of them allows.
#pragma once

#include <string_view>
#include <vector>

#include "store/key_store.h"

namespace forkbox::api {

enum class Right { kExecute, kReadExecutions, kReadUsage, kReadAccount, kManageKeys };

bool Allows(store::KeyPermissions permissions, Right right);

// "full_access or execute_only": which permissions give that right.
std::string_view PermissionsFor(Right right);

inline constexpr store::KeyPermissions kFullAccess{.full_access = true};
inline constexpr store::KeyPermissions kExecuteOnly{.execute_only = true};

// Their names, in the order of the table.
std::vector<std::string_view> NamesOf(store::KeyPermissions permissions);
// Adds the one of that name; false when there is none.
bool AddPermission(std::string_view name, store::KeyPermissions* permissions);

}  // namespace forkbox::api
