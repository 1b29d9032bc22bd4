// Operations on the files of a box (reference 7), but for those that carry their content.

#include <array>
#include <string>
#include <utility>
#include <vector>

#include "api/opensandbox/execd_body.h"
#include "api/opensandbox/execd_call.h"
#include "api/opensandbox/execd_file_info.h"

namespace forkbox::api {
namespace {

using Json = nlohmann::ordered_json;

ExecdError NotFound(const std::string& what) {
  return {.status = 404, .code = "FILE_NOT_FOUND", .message = "file not found. " + what};
}

// The body as an object; where it is none the call is refused, and false.
bool ReadObject(ExecdCall& call, nlohmann::json* object) {
  auto body = DecodeExecdBody(std::move(call.body));
  if (body && !body->is_object()) {
    body = Fail(ErrorCode::kInvalidArgument, "the body must be a JSON object");
  }
  if (!body) {
    call.Refuse(UnparsableBody(body.error()));
    return false;
  }
  *object = *std::move(body);
  return true;
}

void ServeInfo(ExecdCall& call) {
  Json infos = Json::object();
  for (const std::string& asked : call.Queries("path")) {
    std::string path;
    if (!ReadPath(call, asked, &path)) return;
    const auto info = call.daemon->files().Info(path);
    if (!info) {
      return call.Refuse(info.error().code == ErrorCode::kNotFound
                             ? NotFound(info.error().message)
                             : FailedFile(info.error(), "error accessing file: "));
    }
    infos[asked] = ToJson(*info);
  }
  call.Json(200, infos);
}

void ServeRemove(ExecdCall& call) {
  for (const std::string& asked : call.Queries("path")) {
    std::string path;
    if (!ReadPath(call, asked, &path)) return;
    if (auto removed = call.daemon->files().Remove(path); !removed) {
      return call.Refuse(FailedFile(removed.error(), "error removing file " + asked + ". "));
    }
  }
  call.Done();
}

void ServePermissions(ExecdCall& call) {
  nlohmann::json body;
  if (!ReadObject(call, &body)) return;
  struct Change {
    std::string asked;
    std::string path;
    execd::Permission permission;
  };
  std::vector<Change> changes;
  for (const auto& [asked, value] : body.items()) {
    Change change{.asked = asked, .path = {}, .permission = {}};
    auto permission = ReadPermission(value);
    if (!permission) {
      return call.Refuse(UnparsableBody(
          {ErrorCode::kInvalidArgument, "\"" + asked + "\": " + permission.error().message}));
    }
    change.permission = *std::move(permission);
    if (!ReadPath(call, asked, &change.path)) return;
    changes.push_back(std::move(change));
  }
  for (const Change& change : changes) {
    const auto set = call.daemon->files().SetPermission(change.path, change.permission);
    if (!set) {
      return call.Refuse(
          FailedFile(set.error(), "error changing permissions for " + change.asked + ". "));
    }
  }
  call.Done();
}

void ServeMove(ExecdCall& call) {
  const auto body = DecodeExecdBody(std::move(call.body));
  if (!body) return call.Refuse(UnparsableBody(body.error()));
  if (!body->is_array()) {
    return call.Refuse(
        UnparsableBody({ErrorCode::kInvalidArgument, "the body must be a JSON array"}));
  }
  struct Rename {
    std::string from;
    std::string to;
  };
  std::vector<Rename> renames;
  for (const auto& item : *body) {
    ExecdFields fields(item);
    Rename rename;
    fields.Text("src", &rename.from);
    fields.Text("dest", &rename.to);
    if (auto read = fields.Finish(); !read) return call.Refuse(UnparsableBody(read.error()));
    if (rename.from.empty() || rename.to.empty()) {
      return call.Refuse(InvalidBody(
          "invalid request, validation error fields \"src\" and \"dest\" are required"));
    }
    if (!ReadPath(call, rename.from, &rename.from)) return;
    if (!ReadPath(call, rename.to, &rename.to)) return;
    renames.push_back(std::move(rename));
  }
  for (const Rename& rename : renames) {
    const auto moved = call.daemon->files().Move(rename.from, rename.to);
    if (moved) continue;
    switch (moved.error().code) {
      case ErrorCode::kNotFound:
        return call.Refuse(NotFound(moved.error().message));
      case ErrorCode::kConflict:
        return call.Refuse(
            {.status = 409,
             .code = "CONFLICT",
             .message = "error accessing file: destination path already exists: " + rename.to});
      default:
        return call.Refuse(FailedFile(moved.error(), "error moving file " + rename.from + ". "));
    }
  }
  call.Done();
}

void ServeSearch(ExecdCall& call) {
  std::string path;
  if (!call.NeedQuery("path", &path) || !ReadPath(call, path, &path)) return;
  std::string pattern;
  if (!call.Query("pattern", &pattern) || pattern.empty()) pattern = "**";
  const auto found = call.daemon->files().Search(path, pattern);
  if (found) return call.Json(200, ToJson(*found));
  if (found.error().code == ErrorCode::kNotFound) {
    return call.Refuse(NotFound(found.error().message));
  }
  call.Refuse(FailedFile(found.error(), "error searching files. "));
}

void ServeReplace(ExecdCall& call) {
  nlohmann::json body;
  if (!ReadObject(call, &body)) return;
  struct Change {
    std::string asked;
    execd::Replacement replacement;
  };
  std::vector<Change> changes;
  for (const auto& [asked, value] : body.items()) {
    Change change{.asked = asked, .replacement = {}};
    ExecdFields fields(value);
    fields.Text("old", &change.replacement.old_text);
    fields.Text("new", &change.replacement.new_text);
    if (auto read = fields.Finish(); !read) {
      return call.Refuse(UnparsableBody(
          {ErrorCode::kInvalidArgument, "\"" + asked + "\": " + read.error().message}));
    }
    if (change.replacement.old_text.empty()) {
      return call.Refuse(InvalidBody("old content must not be empty"));
    }
    if (!ReadPath(call, asked, &change.replacement.path)) return;
    changes.push_back(std::move(change));
  }
  Json counts = Json::object();
  for (const Change& change : changes) {
    const auto replaced = call.daemon->files().Replace(change.replacement);
    if (!replaced) {
      return call.Refuse(
          replaced.error().code == ErrorCode::kNotFound
              ? NotFound(replaced.error().message)
              : FailedFile(replaced.error(), "error replacing content of " + change.asked + ". "));
    }
    counts[change.asked] = {{"replacedCount", *replaced}};
  }
  std::string verbose;
  if (call.Query("verbose", &verbose) && verbose == "true") return call.Json(200, counts);
  call.Done();
}

constexpr std::array kRoutes{
    ExecdRoute{http::Method::kGet, "/files/info", ServeInfo},
    ExecdRoute{http::Method::kDelete, "/files", ServeRemove},
    ExecdRoute{http::Method::kPost, "/files/permissions", ServePermissions},
    ExecdRoute{http::Method::kPost, "/files/mv", ServeMove},
    ExecdRoute{http::Method::kGet, "/files/search", ServeSearch},
    ExecdRoute{http::Method::kPost, "/files/replace", ServeReplace},
};

}  // namespace

std::span<const ExecdRoute> ExecdFileRoutes() { return kRoutes; }

}  // namespace forkbox::api
