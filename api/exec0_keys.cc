#include "api/exec0_keys.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>
#include <vector>

#include "api/auth/new_key.h"
#include "api/auth/permission.h"
#include "base/rfc3339.h"
#include "schema/json.h"

namespace forkbox::api {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;
using schema::KeyId;
using store::ApiKey;
using store::KeyChange;

// Far more than any of these bodies needs.
constexpr schema::JsonLimits kBodyLimits{
    .max_depth = 16, .max_values = 1'000, .max_bytes = 64 << 10};

template <class T>
using Parsed = tl::expected<T, Exec0Problem>;

ordered_json TimeOrNull(std::int64_t unix_ms) {
  return unix_ms == 0 ? ordered_json(nullptr) : ordered_json(Rfc3339Millis(unix_ms));
}

ordered_json TextOrNull(const std::string& text) {
  return text.empty() ? ordered_json(nullptr) : ordered_json(text);
}

// Optional members that have no value are left out, as in Exec0's own lists.
ordered_json KeyDocument(const ApiKey& key, std::int64_t last_used_unix_ms) {
  ordered_json document{{"id", key.id.str()}, {"name", key.name}};
  if (!key.description.empty()) document["description"] = key.description;
  document["prefix"] = key.prefix;
  document["permissions"] = NamesOf(key.permissions);
  document["createdAt"] = Rfc3339Millis(key.created_unix_ms);
  if (last_used_unix_ms != 0) document["lastUsedAt"] = Rfc3339Millis(last_used_unix_ms);
  document["expiresAt"] = TimeOrNull(key.expires_unix_ms);
  document["enabled"] = key.enabled;
  document["revokedAt"] = TimeOrNull(key.revoked_unix_ms);
  if (!key.rotated_to.empty()) document["rotatedTo"] = key.rotated_to.str();
  return document;
}

// The one answer that holds the key itself.
ordered_json NewKeyDocument(const NewKey& made) {
  return {{"id", made.key.id.str()},
          {"keyId", made.key.id.str()},
          {"key", made.text},
          {"name", made.key.name},
          {"description", TextOrNull(made.key.description)},
          {"permissions", NamesOf(made.key.permissions)},
          {"expiresAt", TimeOrNull(made.key.expires_unix_ms)},
          {"createdAt", Rfc3339Millis(made.key.created_unix_ms)}};
}

Parsed<json> ParseBody(const http::Call& call, const schema::RequestSchema& schema) {
  Result<json> body = schema::ParseJson(call.body, kBodyLimits);
  if (!body) {
    Exec0Problem problem = ToExec0Problem(body.error());
    problem.message = "body: " + problem.message;
    problem.details = {{"field", "body"}, {"limit", "a JSON object"}};
    return tl::unexpected(std::move(problem));
  }
  if (const Result<void> fits = schema.Validate(*body); !fits) {
    return tl::unexpected(InvalidBody(fits.error(), *body));
  }
  return *std::move(body);
}

// Null when the member is not there.
Parsed<std::optional<std::string>> TextOf(const json& body, const char* name) {
  const auto found = body.find(name);
  if (found == body.end()) return std::nullopt;
  const auto& text = found->get_ref<const std::string&>();
  const bool plain = std::none_of(text.begin(), text.end(), [](char c) {
    return static_cast<unsigned char>(c) < 0x20 || c == 0x7F;
  });
  if (plain) return text;
  return tl::unexpected(InvalidField(name, "free of control characters", Received(*found)));
}

// Null when it is not there, 0 for never.
Parsed<std::optional<std::int64_t>> ExpiryOf(const json& body, std::int64_t now_unix_ms) {
  constexpr const char* kName = "expiresAt";
  const auto found = body.find(kName);
  if (found == body.end()) return std::nullopt;
  if (found->is_null()) return 0;
  const auto& text = found->get_ref<const std::string&>();
  // Upstream takes no offsets and no dates alone.
  const bool strict = text.size() >= 20 && text[10] == 'T' && text.back() == 'Z';
  const auto time = strict ? ParseRfc3339(text) : std::nullopt;
  if (!time) {
    return tl::unexpected(InvalidField(
        kName, "a date and time in UTC, such as 2027-01-28T00:00:00Z", Received(*found)));
  }
  if (*time <= now_unix_ms) {
    return tl::unexpected(InvalidField(kName, "in the future", Rfc3339Millis(*time)));
  }
  return *time;
}

// What of name, description, permissions, expiresAt and enabled the body sets.
Parsed<KeyChange> ChangeOf(const json& body, std::int64_t now_unix_ms) {
  KeyChange change;
  auto name = TextOf(body, "name");
  if (!name) return tl::unexpected(std::move(name.error()));
  change.name = *std::move(name);
  auto description = TextOf(body, "description");
  if (!description) return tl::unexpected(std::move(description.error()));
  change.description = *std::move(description);
  if (const auto names = body.find("permissions"); names != body.end()) {
    change.permissions.emplace();
    for (const json& one : *names) {
      AddPermission(one.get_ref<const std::string&>(), &*change.permissions);
    }
  }
  auto expiry = ExpiryOf(body, now_unix_ms);
  if (!expiry) return tl::unexpected(std::move(expiry.error()));
  change.expires_unix_ms = *expiry;
  if (const auto enabled = body.find("enabled"); enabled != body.end()) {
    change.enabled = enabled->get<bool>();
  }
  return change;
}

bool IsEmpty(const KeyChange& change) {
  return !change.name && !change.description && !change.permissions && !change.expires_unix_ms &&
         !change.enabled;
}

void Apply(const KeyChange& change, ApiKey* key) {
  if (change.name) key->name = *change.name;
  if (change.description) key->description = *change.description;
  if (change.permissions) key->permissions = *change.permissions;
  if (change.expires_unix_ms) key->expires_unix_ms = *change.expires_unix_ms;
  if (change.enabled) key->enabled = *change.enabled;
}

// What cannot be an id of ours is nobody's; the store need not see what a stranger made up.
KeyId ToKeyId(const std::string& text) {
  const bool plain = text.size() <= 128 && std::all_of(text.begin(), text.end(),
                                                       [](char c) { return c > 0x20 && c < 0x7F; });
  return KeyId(plain ? text : "none");
}

KeyId IdOf(const json& body) { return ToKeyId(body["keyId"].get_ref<const std::string&>()); }

Exec0Problem NoSuchKey() { return {.status = 404, .message = "there is no such key"}; }

Exec0Problem ProblemOf(const Error& error) {
  if (error.code == ErrorCode::kNotFound) return NoSuchKey();
  if (error.code == ErrorCode::kConflict) {
    return {.status = 409, .message = "the key has been revoked"};
  }
  return ToExec0Problem(error);
}

}  // namespace

Result<std::unique_ptr<Exec0Keys>> Exec0Keys::Create(Options options, Parts parts) {
  using schema::RequestSchema;
  Result<RequestSchema> create = RequestSchema::Load("exec0_key_create");
  if (!create) return Fail(create.error());
  Result<RequestSchema> change = RequestSchema::Load("exec0_key_change");
  if (!change) return Fail(change.error());
  Result<RequestSchema> rotate = RequestSchema::Load("exec0_key_rotate");
  if (!rotate) return Fail(rotate.error());
  Result<RequestSchema> id = RequestSchema::Load("exec0_key_id");
  if (!id) return Fail(id.error());
  return std::unique_ptr<Exec0Keys>(
      new Exec0Keys(options, std::move(parts), {*create, *change, *rotate, *id}));
}

Exec0Keys::Exec0Keys(Options options, Parts parts, Schemas schemas)
    : options_(options),
      parts_(std::move(parts)),
      schemas_(std::move(schemas)),
      calls_(options.threads, options.max_waiting_calls) {}

void Exec0Keys::Route(http::Server& server, http::Method method, const char* path,
                      Handler handler) {
  server.Route(method, path, [this, handler](http::Call& call) {
    const auto identity =
        parts_.admission.IdentifyAndMeter(call.fields, call.client_address, Right::kManageKeys);
    if (!identity) return SendExec0Problem(call.reply, ToExec0Problem(identity.error()));
    (this->*handler)(
        call, {identity->owner, identity->key_id,
               parts_.admission.AddressOf(call.fields, call.client_address), call.request_id});
  });
}

void Exec0Keys::RegisterOn(http::Server& server) {
  using http::Method;
  Route(server, Method::kGet, "/api/v1/keys", &Exec0Keys::List);
  Route(server, Method::kPost, "/api/v1/keys", &Exec0Keys::Make);
  Route(server, Method::kPatch, "/api/v1/keys/:id", &Exec0Keys::Patch);
  Route(server, Method::kDelete, "/api/v1/keys/:id", &Exec0Keys::Delete);
  Route(server, Method::kPost, "/api/v1/keys/rotate", &Exec0Keys::Rotate);
  Route(server, Method::kPost, "/api/v1/keys/revoke", &Exec0Keys::Revoke);
  Route(server, Method::kPost, "/api/v1/keys/enable", &Exec0Keys::Enable);
  Route(server, Method::kPost, "/api/v1/keys/disable", &Exec0Keys::Disable);
}

void Exec0Keys::Later(http::Call& call, std::function<void(http::Reply&)> work) {
  const bool posted =
      calls_.Post([reply = call.reply, work = std::move(work)]() mutable { work(reply); });
  if (posted) return;
  SendExec0Problem(call.reply, ToExec0Problem(Error{ErrorCode::kUnavailable,
                                                    "too many questions to the store wait"}));
}

void Exec0Keys::List(http::Call& call, const Asker& asker) {
  Later(call, [this, asker](http::Reply& reply) {
    const auto keys = parts_.store.keys().List(asker.owner, options_.max_keys);
    if (!keys) return SendExec0Problem(reply, ToExec0Problem(keys.error()));
    ordered_json data = ordered_json::array();
    for (const ApiKey& key : *keys) {
      data.push_back(
          KeyDocument(key, std::max(key.last_used_unix_ms, parts_.ring.LastUsed(key.id))));
    }
    SendExec0(reply, 200, {{"total", keys->size()}, {"data", std::move(data)}});
  });
}

void Exec0Keys::Make(http::Call& call, const Asker& asker) {
  // Whoever made the first key here would lock out everybody else on this machine.
  if (!parts_.admission.enabled()) {
    return SendExec0Problem(
        call.reply,
        {.status = 403, .message = "keys are off; make the first one with `forkbox keys create`"});
  }
  const auto body = ParseBody(call, schemas_.create);
  if (!body) return SendExec0Problem(call.reply, body.error());
  auto wanted = ChangeOf(*body, parts_.clock.UnixMillis());
  if (!wanted) return SendExec0Problem(call.reply, wanted.error());
  wanted->enabled.reset();  // no member of this body
  Later(call, [this, asker, wanted = *std::move(wanted)](http::Reply& reply) {
    const auto keys = parts_.store.keys().List(asker.owner, options_.max_keys);
    if (!keys) return SendExec0Problem(reply, ToExec0Problem(keys.error()));
    const auto live = static_cast<std::size_t>(std::count_if(
        keys->begin(), keys->end(), [](const ApiKey& key) { return key.revoked_unix_ms == 0; }));
    const bool full = live >= options_.max_live_keys;
    if (full || keys->size() >= options_.max_keys) {
      const std::size_t limit = full ? options_.max_live_keys : options_.max_keys;
      return SendExec0Problem(
          reply, {.status = 409,
                  .message = "an account has at most " + std::to_string(limit) + " keys" +
                             (full ? "" : ", revoked ones included"),
                  .details = {{"limit", limit}, {"received", full ? live : keys->size()}}});
    }
    Result<NewKey> made = MakeNewKey(parts_.clock.UnixMillis());
    if (!made) return SendExec0Problem(reply, ToExec0Problem(made.error()));
    made->key.owner = asker.owner;
    Apply(wanted, &made->key);
    if (const auto created = parts_.store.keys().Create(made->key, made->digest.Hex()); !created) {
      return SendExec0Problem(reply, ToExec0Problem(created.error()));
    }
    parts_.ring.Put(made->digest, made->key);
    Note(asker, "key.created", made->key.id);
    SendExec0(reply, 200, NewKeyDocument(*made));
  });
}

void Exec0Keys::Patch(http::Call& call, const Asker& asker) {
  const auto body = ParseBody(call, schemas_.change);
  if (!body) return SendExec0Problem(call.reply, body.error());
  auto change = ChangeOf(*body, parts_.clock.UnixMillis());
  if (!change) return SendExec0Problem(call.reply, change.error());
  if (IsEmpty(*change)) {
    return SendExec0Problem(
        call.reply,
        InvalidField("body", "an object with name, description, permissions, expiresAt or enabled",
                     "none of them"));
  }
  Later(call, [this, asker, id = ToKeyId(call.Param(":id")), change = *std::move(change)](
                  http::Reply& reply) { Change(reply, asker, id, change, true); });
}

void Exec0Keys::Delete(http::Call& call, const Asker& asker) {
  Later(call, [this, asker, id = ToKeyId(call.Param(":id"))](http::Reply& reply) {
    Revoke(reply, asker, id, ErrorCode::kNotFound);
  });
}

void Exec0Keys::Revoke(http::Call& call, const Asker& asker) {
  const auto body = ParseBody(call, schemas_.id);
  if (!body) return SendExec0Problem(call.reply, body.error());
  Later(call, [this, asker, id = IdOf(*body)](http::Reply& reply) {
    Revoke(reply, asker, id, ErrorCode::kConflict);
  });
}

void Exec0Keys::Enable(http::Call& call, const Asker& asker) { SetEnabled(call, asker, true); }

void Exec0Keys::Disable(http::Call& call, const Asker& asker) { SetEnabled(call, asker, false); }

void Exec0Keys::SetEnabled(http::Call& call, const Asker& asker, bool enabled) {
  const auto body = ParseBody(call, schemas_.id);
  if (!body) return SendExec0Problem(call.reply, body.error());
  Later(call, [this, asker, id = IdOf(*body), enabled](http::Reply& reply) {
    KeyChange change;
    change.enabled = enabled;
    Change(reply, asker, id, change, false);
  });
}

void Exec0Keys::Rotate(http::Call& call, const Asker& asker) {
  const auto body = ParseBody(call, schemas_.rotate);
  if (!body) return SendExec0Problem(call.reply, body.error());
  auto wanted = ChangeOf(*body, parts_.clock.UnixMillis());
  if (!wanted) return SendExec0Problem(call.reply, wanted.error());
  wanted->enabled.reset();  // no member of this body
  Later(call, [this, asker, id = IdOf(*body), wanted = *std::move(wanted)](http::Reply& reply) {
    const auto keys = parts_.store.keys().List(asker.owner, options_.max_keys);
    if (!keys) return SendExec0Problem(reply, ToExec0Problem(keys.error()));
    const auto old =
        std::find_if(keys->begin(), keys->end(), [&](const ApiKey& key) { return key.id == id; });
    if (old == keys->end()) return SendExec0Problem(reply, NoSuchKey());
    if (keys->size() >= options_.max_keys) {
      return SendExec0Problem(
          reply, {.status = 409,
                  .message = "an account has at most " + std::to_string(options_.max_keys) +
                             " keys, revoked ones included",
                  .details = {{"limit", options_.max_keys}, {"received", keys->size()}}});
    }
    const std::int64_t now = parts_.clock.UnixMillis();
    Result<NewKey> made = MakeNewKey(now);
    if (!made) return SendExec0Problem(reply, ToExec0Problem(made.error()));
    made->key.owner = old->owner;
    made->key.name = old->name;
    made->key.description = old->description;
    made->key.permissions = old->permissions;
    made->key.enabled = old->enabled;
    made->key.expires_unix_ms = old->expires_unix_ms;
    Apply(wanted, &made->key);
    if (made->key.expires_unix_ms != 0 && made->key.expires_unix_ms <= now) {
      return SendExec0Problem(
          reply, {.status = 409,
                  .message = "the key has expired: its successor needs an expiresAt of its own"});
    }
    const auto rotated =
        parts_.store.keys().Rotate(asker.owner, id, made->key, made->digest.Hex(), now);
    if (!rotated) return SendExec0Problem(reply, ProblemOf(rotated.error()));
    parts_.ring.Put(made->digest, made->key);
    parts_.ring.Update(id, [&](ApiKey* key) {
      key->revoked_unix_ms = now;
      key->rotated_to = made->key.id;
    });
    Note(asker, "key.rotated", id);
    Note(asker, "key.created", made->key.id);
    ordered_json document{{"success", true}};
    document.update(NewKeyDocument(*made));
    SendExec0(reply, 200, document);
  });
}

void Exec0Keys::Change(http::Reply& reply, const Asker& asker, const KeyId& id,
                       const KeyChange& change, bool show) {
  const auto changed =
      parts_.store.keys().Change(asker.owner, id, change, parts_.clock.UnixMillis());
  if (!changed) return SendExec0Problem(reply, ProblemOf(changed.error()));
  parts_.ring.Update(id, [&](ApiKey* key) { *key = *changed; });
  const bool only_switched = !change.name && !change.description && !change.permissions &&
                             !change.expires_unix_ms && change.enabled;
  Note(asker,
       !only_switched    ? "key.changed"
       : *change.enabled ? "key.enabled"
                         : "key.disabled",
       id);
  if (!show) return SendExec0(reply, 200, {{"success", true}});
  SendExec0(reply, 200,
            KeyDocument(*changed, std::max(changed->last_used_unix_ms, parts_.ring.LastUsed(id))));
}

void Exec0Keys::Revoke(http::Reply& reply, const Asker& asker, const KeyId& id, ErrorCode again) {
  const std::int64_t now = parts_.clock.UnixMillis();
  if (const auto revoked = parts_.store.keys().Revoke(asker.owner, id, now); !revoked) {
    Error error = revoked.error();
    if (error.code == ErrorCode::kConflict) error.code = again;
    return SendExec0Problem(reply, ProblemOf(error));
  }
  parts_.ring.Update(id, [&](ApiKey* key) { key->revoked_unix_ms = now; });
  Note(asker, "key.revoked", id);
  SendExec0(reply, 200, {{"success", true}});
}

void Exec0Keys::Note(const Asker& asker, const char* action, const KeyId& target) {
  const auto noted = parts_.store.audit().Append({.time_unix_ms = parts_.clock.UnixMillis(),
                                                  .owner = asker.owner,
                                                  .key_id = asker.key_id,
                                                  .action = action,
                                                  .target = target.str(),
                                                  .client_address = asker.client_address,
                                                  .request_id = asker.request_id});
  // It is done by now, so the log has to do for what the audit log lacks.
  const Log log = parts_.log.With({{"request_id", asker.request_id},
                                   {"owner", asker.owner.str()},
                                   {"key_id", asker.key_id.str()},
                                   {"target", target.str()}});
  if (noted) return log.Info(action, {});
  log.Error("audit.not_written", {{"action", action}, {"error", noted.error().message}});
}

}  // namespace forkbox::api
