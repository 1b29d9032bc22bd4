#include "cli/docs_bundle.h"

#include <filesystem>
#include <system_error>
#include <utility>

namespace forkbox::cli {

api::DocsBundle FindDocsBundle(const Log& log) {
  namespace fs = std::filesystem;
  std::error_code error;
  const fs::path base = fs::read_symlink("/proc/self/exe", error).parent_path().parent_path();
  for (const char* place : {"share/scalar", "share/forkbox/scalar"}) {
    auto bundle = api::DocsBundle::Open((base / place / "standalone.js").string());
    if (bundle) return *std::move(bundle);
  }
  log.Warn("docs.no_bundle", {{"below", (base / "share").string()}});
  return {};
}

}  // namespace forkbox::cli
