# The one way to declare things. Include directories are per component: a header can be included
# only by targets that name its component in DEPS, so the link graph is the architecture.
include(GoogleTest)

set(GFS_BANNED_HEADER ${CMAKE_SOURCE_DIR}/cmake/banned.h)

# gfs_component(NAME SOURCES ... DEPS <components> PRIVATE_DEPS <components, gfs_dep_*>)
# A static library gfs_NAME whose public headers live in ./include. Every public header is compiled
# on its own as C and as C++17 (target gfs_NAME_headers, part of all).
function(gfs_component name)
    cmake_parse_arguments(ARG "" "INCLUDE" "SOURCES;DEPS;PRIVATE_DEPS" ${ARGN})
    if(ARG_UNPARSED_ARGUMENTS)
        message(FATAL_ERROR "gfs_component(${name}): unknown ${ARG_UNPARSED_ARGUMENTS}")
    endif()
    if(NOT ARG_INCLUDE)
        set(ARG_INCLUDE include)
    endif()
    add_library(gfs_${name} STATIC ${ARG_SOURCES})
    target_include_directories(gfs_${name}
        PUBLIC ${CMAKE_CURRENT_SOURCE_DIR}/${ARG_INCLUDE} PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
    target_link_libraries(gfs_${name}
        PUBLIC ${ARG_DEPS} Threads::Threads PRIVATE gfs_flags ${ARG_PRIVATE_DEPS})
    target_compile_options(gfs_${name} PRIVATE $<$<COMPILE_LANGUAGE:C>:-include${GFS_BANNED_HEADER}>)
    gfs_check_headers(${name} ${ARG_INCLUDE})
endfunction()

# Compiles each public header alone, as C and as C++17: a header is self-contained and usable from
# the tests' language, or the build stops.
function(gfs_check_headers name include)
    file(GLOB_RECURSE headers RELATIVE ${CMAKE_CURRENT_SOURCE_DIR}/${include} CONFIGURE_DEPENDS
        ${CMAKE_CURRENT_SOURCE_DIR}/${include}/*.h)
    set(generated "")
    foreach(header IN LISTS headers)
        string(MAKE_C_IDENTIFIER ${header} id)
        foreach(ext c cc)
            set(file ${CMAKE_CURRENT_BINARY_DIR}/headers/${name}_${id}.${ext})
            file(GENERATE OUTPUT ${file}
                CONTENT "#include <${header}>\nextern int gfs_header_${id}_${ext};\n")
            list(APPEND generated ${file})
        endforeach()
    endforeach()
    if(generated)
        add_library(gfs_${name}_headers OBJECT ${generated})
        target_link_libraries(gfs_${name}_headers PRIVATE gfs_${name} gfs_flags)
    endif()
endfunction()

# gfs_program(NAME SOURCES ... DEPS ...): an installed executable, in <build>/bin.
function(gfs_program name)
    cmake_parse_arguments(ARG "" "" "SOURCES;DEPS" ${ARGN})
    add_executable(${name} ${ARG_SOURCES})
    target_include_directories(${name} PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
    target_link_libraries(${name} PRIVATE gfs_flags ${ARG_DEPS})
    target_compile_options(${name} PRIVATE $<$<COMPILE_LANGUAGE:C>:-include${GFS_BANNED_HEADER}>)
    set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
    install(TARGETS ${name} RUNTIME DESTINATION bin)
    set_property(GLOBAL APPEND PROPERTY GFS_PROGRAMS ${name})
endfunction()

# gfs_test(NAME SOURCES ... DEPS ... [LABELS unit|sim|integration|...] [TIMEOUT seconds])
# One label only: gtest_discover_tests breaks a list up, and the timeout with it.
# A googletest binary; each of its cases becomes one ctest case. Sources are looked up under
# test/unit/<component directory>, so that a test's path mirrors its source's. Under a sanitizer
# preset the same binary runs sanitized.
function(gfs_test name)
    cmake_parse_arguments(ARG "WHOLE" "TIMEOUT" "SOURCES;DEPS;LABELS" ${ARGN})
    list(LENGTH ARG_LABELS n_labels)
    if(n_labels GREATER 1)
        message(FATAL_ERROR "gfs_test(${name}): one label")
    endif()
    if(NOT ARG_LABELS)
        set(ARG_LABELS unit)
    endif()
    if(NOT ARG_TIMEOUT)
        set(ARG_TIMEOUT 120)
    endif()
    file(RELATIVE_PATH here ${CMAKE_SOURCE_DIR} ${CMAKE_CURRENT_SOURCE_DIR})
    set(sources "")
    foreach(source IN LISTS ARG_SOURCES)
        if(EXISTS ${CMAKE_SOURCE_DIR}/test/unit/${here}/${source})
            list(APPEND sources ${CMAKE_SOURCE_DIR}/test/unit/${here}/${source})
        else()
            list(APPEND sources ${source})
        endif()
    endforeach()
    add_executable(${name} ${sources})
    target_include_directories(${name} PRIVATE ${CMAKE_CURRENT_SOURCE_DIR} ${CMAKE_SOURCE_DIR}/test)
    target_link_libraries(${name} PRIVATE gfs_flags ${ARG_DEPS} GTest::gtest GTest::gtest_main)
    set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/test)
    if(ARG_WHOLE)
        # One ctest case for the whole binary: for suites with an expensive fixture.
        add_test(NAME ${name} COMMAND ${name})
        set_tests_properties(${name} PROPERTIES LABELS "${ARG_LABELS}" TIMEOUT ${ARG_TIMEOUT})
    else()
        gtest_discover_tests(${name} DISCOVERY_TIMEOUT 60
            PROPERTIES LABELS "${ARG_LABELS}" TIMEOUT ${ARG_TIMEOUT})
    endif()
endfunction()

# gfs_fuzzer(NAME SOURCE file DEPS ... ): test/fuzz/NAME.c with LLVMFuzzerTestOneInput. With
# GFS_FUZZ it is a libFuzzer program; always, its corpus test/fuzz/corpus/NAME is replayed by ctest.
function(gfs_fuzzer name)
    cmake_parse_arguments(ARG "" "" "DEPS" ${ARGN})
    set(source ${CMAKE_SOURCE_DIR}/test/fuzz/${name}.c)
    add_executable(${name}_replay ${source} ${CMAKE_SOURCE_DIR}/test/fuzz/replay_main.c)
    target_link_libraries(${name}_replay PRIVATE gfs_flags ${ARG_DEPS})
    target_include_directories(${name}_replay PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
    set_target_properties(${name}_replay PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/test)
    add_test(NAME fuzz.${name} COMMAND ${name}_replay ${CMAKE_SOURCE_DIR}/test/fuzz/corpus/${name})
    set_tests_properties(fuzz.${name} PROPERTIES LABELS "unit;fuzz" TIMEOUT 120)
    if(GFS_FUZZ)
        add_executable(${name} ${source})
        target_link_libraries(${name} PRIVATE gfs_flags ${ARG_DEPS} -fsanitize=fuzzer)
        target_include_directories(${name} PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
        set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/fuzz)
    endif()
endfunction()

# gfs_proto(NAME FILES a.proto ...): protobuf-c messages and service descriptors as gfs_NAME.
# Generated code is compiled without the project's warnings: it is not ours to format.
function(gfs_proto name)
    cmake_parse_arguments(ARG "" "ROOT" "FILES" ${ARGN})
    set(out ${CMAKE_CURRENT_BINARY_DIR}/gen)
    set(sources "")
    foreach(file IN LISTS ARG_FILES)
        string(REGEX REPLACE "\\.proto$" "" stem ${file})
        add_custom_command(
            OUTPUT ${out}/${stem}.pb-c.c ${out}/${stem}.pb-c.h
            COMMAND ${CMAKE_COMMAND} -E make_directory ${out}
            COMMAND ${PROTOC_C} --proto_path=${CMAKE_CURRENT_SOURCE_DIR} --c_out=${out} ${file}
            DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${file}
            COMMENT "protoc-c ${file}" VERBATIM)
        list(APPEND sources ${out}/${stem}.pb-c.c)
    endforeach()
    add_library(gfs_${name} STATIC ${sources})
    target_include_directories(gfs_${name} SYSTEM PUBLIC ${out})
    target_link_libraries(gfs_${name} PUBLIC gfs_dep_protobuf_c)
    set_property(GLOBAL APPEND PROPERTY GFS_PROTOS gfs_${name})
endfunction()
