// The names of users and groups, from the box's own /etc/passwd and /etc/group; without the name
// service, which a static program does not have. Immutable once made.
#pragma once

#include <sys/types.h>

#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace forkbox::execd {

class AccountNames {
 public:
  // Files in the form of passwd(5) and group(5); what cannot be read names nobody.
  AccountNames(const std::string& passwd_path, const std::string& group_path);

  // The name, or the number where there is none.
  [[nodiscard]] std::string User(uid_t uid) const { return NameOf(users_, uid); }
  [[nodiscard]] std::string Group(gid_t gid) const { return NameOf(groups_, gid); }
  // Of several with the same name (every cell's user is called alike) our own.
  [[nodiscard]] std::optional<uid_t> FindUser(std::string_view name) const;
  [[nodiscard]] std::optional<gid_t> FindGroup(std::string_view name) const;

 private:
  using Names = std::map<std::uint32_t, std::string>;
  static Names Read(const std::string& path);
  static std::string NameOf(const Names& names, std::uint32_t id);
  static std::optional<std::uint32_t> Find(const Names& names, std::string_view name,
                                           std::uint32_t own);
  Names users_;
  Names groups_;
};

}  // namespace forkbox::execd
