#include "api/docs.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <string_view>
#include <utility>

#include "base/uuid.h"
#include "schema/openapi_document.h"

namespace forkbox::api {
namespace {

constexpr std::string_view kScriptType = "text/javascript; charset=utf-8";
constexpr std::string_view kBundleName = "scalar-" FORKBOX_SCALAR_VERSION ".js";
constexpr std::string_view kStarterName = "start.js";

// A name of its own for each version, so it need not be asked for twice.
constexpr const char* kForAYear = "public, max-age=31536000, immutable";
constexpr const char* kAskAgain = "no-cache";

// Everything that would call somebody else, or offer to, is off: fonts, telemetry, the request
// proxy, the assistant, links to Scalar's own services. The policy of the page forbids it as well.
constexpr std::string_view kStarter = R"js(document.getElementById('links').remove();
Scalar.createApiReference('#app', {
  url: '/openapi.json',
  withDefaultFonts: false,
  telemetry: false,
  proxyUrl: '',
  hideClientButton: true,
  showDeveloperTools: 'never',
  agent: { disabled: true, hideAddApi: true },
  mcp: { disabled: true },
  persistAuth: false,
  documentDownloadType: 'both',
  defaultOpenAllTags: false,
});
)js";

// FNV-1a: an ETag needs no more.
std::string TagOf(std::string_view text) {
  std::uint64_t hash = 14695981039346656037U;
  for (const char c : text) {
    hash ^= static_cast<unsigned char>(c);
    hash *= 1099511628211U;
  }
  return "\"" + std::to_string(hash) + "\"";
}

// As RFC 9110, 13.1.2, has it for GET: a list of tags, weak or not, or "*".
bool ClientHas(const http::Call& call, std::string_view tag) {
  const std::string* const given = call.Header("If-None-Match");
  return given != nullptr && (*given == "*" || given->find(tag) != std::string::npos);
}

http::Fields FileHeaders(std::string_view tag, const char* keep) {
  return {
      {"ETag", std::string(tag)}, {"Cache-Control", keep}, {"X-Content-Type-Options", "nosniff"}};
}

void SendText(http::Call& call, std::string_view type, std::string_view text) {
  const std::string tag = TagOf(text);
  const http::Fields headers = FileHeaders(tag, kAskAgain);
  if (ClientHas(call, tag)) {
    call.reply.Send(304, "", "", headers);
  } else {
    call.reply.Send(200, type, text, headers);
  }
}

// Scalar makes <style> elements and marks them with the nonce it finds in the page.
void SendPage(http::Call& call, bool has_bundle) {
  const std::string nonce = NewUuidV7();
  std::string page =
      "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<meta property=\"csp-nonce\" nonce=\"" +
      nonce + "\" content=\"" + nonce +
      "\">\n<link rel=\"icon\" href=\"data:,\">\n<title>forkbox API</title>\n</head>\n<body>\n<div "
      "id=\"app\"></div>\n"
      "<p id=\"links\">The API as <a href=\"/openapi.json\">JSON</a> or as "
      "<a href=\"/openapi.yaml\">YAML</a>.</p>\n";
  if (has_bundle) {
    page.append("<script src=\"/scalar/").append(kBundleName).append("\"></script>\n");
    page.append("<script src=\"/scalar/").append(kStarterName).append("\"></script>\n");
  }
  page += "</body>\n</html>\n";
  call.reply.Send(200, "text/html; charset=utf-8", page,
                  {{"Cache-Control", "no-store"},
                   {"Content-Security-Policy",
                    "default-src 'none'; script-src 'self'; style-src 'self' 'nonce-" + nonce +
                        "'; img-src 'self' data:; font-src 'self'; connect-src 'self'; "
                        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"},
                   {"Referrer-Policy", "no-referrer"},
                   {"X-Content-Type-Options", "nosniff"}});
}

}  // namespace

Result<std::shared_ptr<const DocsBundle>> DocsBundle::Open(const std::string& path) {
  auto bundle = std::make_shared<DocsBundle>();
  bundle->file.Reset(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!bundle->file) return Fail(ErrorCode::kNotFound, path + " cannot be opened");
  struct stat status {};
  if (::fstat(bundle->file.get(), &status) != 0 || !S_ISREG(status.st_mode)) {
    return Fail(ErrorCode::kUnavailable, path + " is no regular file");
  }
  bundle->bytes = static_cast<std::uint64_t>(status.st_size);
  return std::shared_ptr<const DocsBundle>(std::move(bundle));
}

Docs::Docs(std::shared_ptr<const DocsBundle> bundle) : bundle_(std::move(bundle)) {}

void Docs::RegisterOn(http::Server& server) {
  using http::Call;
  using http::Method;
  for (const char* path : {"/openapi.json", "/api/v1/openapi.json"}) {
    server.Route(Method::kGet, path,
                 [](Call& call) { SendText(call, "application/json", schema::OpenApiJson()); });
  }
  server.Route(Method::kGet, "/openapi.yaml",
               [](Call& call) { SendText(call, "application/yaml", schema::OpenApiYaml()); });
  for (const char* path : {"/scalar", "/api/scalar"}) {
    server.Route(Method::kGet, path, [this](Call& call) { SendPage(call, bundle_ != nullptr); });
  }
  server.Route(Method::kGet, "/scalar/:asset", [this](Call& call) { Asset(call); });
}

void Docs::Asset(http::Call& call) const {
  const std::string name = call.Param(":asset");
  if (name == kStarterName) return SendText(call, kScriptType, kStarter);
  if (name == kBundleName && bundle_ != nullptr) return Bundle(call);
  call.reply.Send(404, "application/json", R"({"error":"there is nothing at this path"})");
}

void Docs::Bundle(http::Call& call) const {
  const std::string tag = TagOf(kBundleName);
  const http::Fields headers = FileHeaders(tag, kForAYear);
  if (ClientHas(call, tag)) {
    call.reply.Send(304, "", "", headers);
    return;
  }
  // sendfile(2) has an offset of its own, so the copies do not get into each other's way.
  UniqueFd file(::fcntl(bundle_->file.get(), F_DUPFD_CLOEXEC, 0));
  if (!file) {
    call.reply.Send(503, "application/json", R"({"error":"too many open files"})",
                    {{"Retry-After", "1"}});
    return;
  }
  call.reply.SendFile(200, kScriptType, std::move(file), 0, bundle_->bytes, headers);
}

}  // namespace forkbox::api
