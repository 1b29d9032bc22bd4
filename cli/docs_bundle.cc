#include "cli/docs_bundle.h"

#include <filesystem>
#include <system_error>
#include <utility>

namespace forkbox::cli {

std::shared_ptr<const api::DocsBundle> FindDocsBundle(const Log& log) {
  namespace fs = std::filesystem;
  std::error_code error;
  const fs::path base = fs::read_symlink("/proc/self/exe", error).parent_path().parent_path();
  for (const char* place : {"share/scalar", "share/forkbox/scalar"}) {
    auto bundle = api::DocsBundle::Open((base / place / "standalone.js").string());
    if (bundle) return *bundle;
  }
  log.Warn("docs.no_bundle", {{"below", (base / "share").string()}});
  return nullptr;
}

}  // namespace forkbox::cli
