// Directories of a box (reference 8).

#include <array>
#include <charconv>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "api/opensandbox/execd_body.h"
#include "api/opensandbox/execd_call.h"
#include "api/opensandbox/execd_file_info.h"

namespace forkbox::api {
namespace {

void ServeList(ExecdCall& call) {
  std::string path;
  if (!call.NeedQuery("path", &path) || !ReadPath(call, path, &path)) return;
  std::uint32_t depth = 1;
  if (std::string text; call.Query("depth", &text) && !text.empty()) {
    const char* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, depth);
    if (error != std::errc() || stop != end) {
      return call.Refuse(InvalidBody("invalid query parameter 'depth': " + text));
    }
  }
  const auto listed = call.daemon->files().List(path, depth);
  if (listed) return call.Json(200, ToJson(*listed));
  if (listed.error().code == ErrorCode::kNotFound) {
    return call.Refuse({.status = 404,
                        .code = "FILE_NOT_FOUND",
                        .message = "directory not found. " + listed.error().message});
  }
  const bool theirs = listed.error().code == ErrorCode::kInvalidArgument;
  call.Refuse(FailedFile(listed.error(), theirs ? "" : "error listing directory. "));
}

void ServeMake(ExecdCall& call) {
  const auto body = DecodeExecdBody(std::move(call.body));
  if (!body) return call.Refuse(UnparsableBody(body.error()));
  if (!body->is_object()) {
    return call.Refuse(
        UnparsableBody({ErrorCode::kInvalidArgument, "the body must be a JSON object"}));
  }
  struct Directory {
    std::string asked;
    std::string path;
    execd::Permission permission;
  };
  std::vector<Directory> directories;
  for (const auto& [asked, value] : body->items()) {
    Directory directory{.asked = asked, .path = {}, .permission = {}};
    auto permission = ReadPermission(value);
    if (!permission) {
      return call.Refuse(UnparsableBody(
          {ErrorCode::kInvalidArgument, "\"" + asked + "\": " + permission.error().message}));
    }
    directory.permission = *std::move(permission);
    if (!ReadPath(call, asked, &directory.path)) return;
    directories.push_back(std::move(directory));
  }
  for (const Directory& directory : directories) {
    const auto made = call.daemon->files().MakeDirectory(directory.path, directory.permission);
    if (!made) {
      return call.Refuse(
          FailedFile(made.error(), "error creating directory " + directory.asked + ". "));
    }
  }
  call.Done();
}

void ServeRemove(ExecdCall& call) {
  for (const std::string& asked : call.Queries("path")) {
    std::string path;
    if (!ReadPath(call, asked, &path)) return;
    if (auto removed = call.daemon->files().RemoveTree(path); !removed) {
      return call.Refuse(FailedFile(removed.error(), "error removing directory " + asked + ". "));
    }
  }
  call.Done();
}

constexpr std::array kRoutes{
    ExecdRoute{http::Method::kGet, "/directories/list", ServeList},
    ExecdRoute{http::Method::kPost, "/directories", ServeMake},
    ExecdRoute{http::Method::kDelete, "/directories", ServeRemove},
};

}  // namespace

std::span<const ExecdRoute> ExecdDirectoryRoutes() { return kRoutes; }

}  // namespace forkbox::api
