# Compiler flags and build variants. Warnings are the same in every variant; only GFS_WERROR makes
# them errors, so that a newer compiler at a user's site does not stop a build.
option(GFS_WERROR "Treat warnings as errors" OFF)
option(GFS_COVERAGE "Instrument for gcov" OFF)
option(GFS_FUZZ "Build libFuzzer targets (clang)" OFF)
set(GFS_SANITIZE "" CACHE STRING "Sanitizer: empty, address (with undefined) or thread")

set(CMAKE_C_STANDARD 11)
set(CMAKE_C_EXTENSIONS ON)
set(CMAKE_CXX_STANDARD 17)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

# Assertions state bugs and stay on in every variant.
foreach(lang C CXX)
    string(REPLACE "-DNDEBUG" "" CMAKE_${lang}_FLAGS_RELWITHDEBINFO "${CMAKE_${lang}_FLAGS_RELWITHDEBINFO}")
    string(REPLACE "-DNDEBUG" "" CMAKE_${lang}_FLAGS_RELEASE "${CMAKE_${lang}_FLAGS_RELEASE}")
endforeach()

add_library(gfs_flags INTERFACE)
target_compile_definitions(gfs_flags INTERFACE _GNU_SOURCE _FILE_OFFSET_BITS=64)
target_compile_options(gfs_flags INTERFACE
    -Wall -Wextra -Wshadow -Wvla -Walloca -Wformat=2 -fno-common -fstack-protector-strong
    $<$<COMPILE_LANGUAGE:C>:-Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith
        -Wold-style-definition -Wimplicit-fallthrough -Wundef>
    # clang does not know the first, and minds protobuf-c's literals in the second.
    $<$<COMPILE_LANG_AND_ID:C,GNU>:-Wformat-truncation=1 -Wcast-qual>
    $<$<BOOL:${GFS_WERROR}>:-Werror>)
target_link_options(gfs_flags INTERFACE -Wl,-z,relro,-z,now)

if(CMAKE_BUILD_TYPE STREQUAL "RelWithDebInfo" AND NOT GFS_SANITIZE)
    target_compile_options(gfs_flags INTERFACE -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
endif()

if(GFS_SANITIZE STREQUAL "address")
    set(_san -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer)
elseif(GFS_SANITIZE STREQUAL "thread")
    set(_san -fsanitize=thread -fno-omit-frame-pointer)
elseif(GFS_SANITIZE)
    message(FATAL_ERROR "GFS_SANITIZE must be empty, address or thread, not '${GFS_SANITIZE}'")
endif()
if(GFS_SANITIZE)
    target_compile_options(gfs_flags INTERFACE ${_san})
    target_link_options(gfs_flags INTERFACE ${_san})
endif()

# Without it libFuzzer sees the branches of the target's own file only, not of what it calls.
if(GFS_FUZZ)
    target_compile_options(gfs_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

if(GFS_COVERAGE)
    target_compile_options(gfs_flags INTERFACE --coverage)
    target_link_options(gfs_flags INTERFACE --coverage)
endif()

find_program(GFS_CCACHE ccache)
if(GFS_CCACHE)
    set(CMAKE_C_COMPILER_LAUNCHER ${GFS_CCACHE})
    set(CMAKE_CXX_COMPILER_LAUNCHER ${GFS_CCACHE})
endif()
